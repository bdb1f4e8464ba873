// SPDX-License-Identifier: MIT
// The failure destination: is given the failure record of each event that was given up.
'use strict';

exports.handler = async (record) => {
  console.error('given up:', JSON.stringify(record));
};
