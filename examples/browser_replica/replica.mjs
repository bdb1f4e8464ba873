// SPDX-License-Identifier: MIT
// A live copy of a DynamoDB table in a browser, against `tailrace serve --cors ORIGIN`.
//
// 1. Scan with x-tailrace-snapshot: all pages show one state of the table, and the answer names the sequence number it
//    is consistent with.
// 2. An EventSource from that number on. The browser connects again by itself and says the last event it saw.
// 3. After a `gap` event (the browser was away for longer than the stream keeps its records) the table is copied again.

/** {"S": "a"} → "a": numbers as JavaScript has them, sets as arrays, binaries as base64, as in the events. */
function plain(value) {
  const [[type, v]] = Object.entries(value);
  switch (type) {
    case "N": return Number(v);
    case "NS": return v.map(Number);
    case "L": return v.map(plain);
    case "M": return unmarshall(v);
    case "NULL": return null;
    default: return v;
  }
}

const unmarshall = (item) => Object.fromEntries(Object.entries(item).map(([name, value]) => [name, plain(value)]));

export class Replica {
  /** onChange(key, item): an item that is new or another, undefined if it is gone. onState(text): for people. */
  constructor(endpoint, table, { onChange = () => {}, onState = () => {} } = {}) {
    Object.assign(this, { endpoint, table, onChange, onState });
    this.items = new Map(); // key as JSON → item
    this.events = 0;
  }

  async call(operation, body, headers = {}) {
    const answer = await fetch(this.endpoint, {
      method: "POST",
      headers: { "content-type": "application/x-amz-json-1.0", "x-amz-target": `DynamoDB_20120810.${operation}`, ...headers },
      body: JSON.stringify(body),
    });
    const json = await answer.json();
    if (!answer.ok) throw new Error(`${operation}: ${json.__type}: ${json.message ?? ""}`);
    return { json, headers: answer.headers };
  }

  keyOf(item) {
    return JSON.stringify(this.keyNames.map((name) => item[name]));
  }

  set(item) {
    const key = this.keyOf(item);
    this.items.set(key, item);
    this.onChange(key, item);
  }

  remove(key) {
    if (this.items.delete(key)) this.onChange(key, undefined);
  }

  /** Copies the table; returns the sequence number of the state copied. */
  async copy() {
    const { json: described } = await this.call("DescribeTable", { TableName: this.table });
    this.keyNames = described.Table.KeySchema.map((k) => k.AttributeName);
    const found = new Set();
    let snapshot = "new", sequence, start;
    do {
      const { json: page, headers } = await this.call(
        "Scan", { TableName: this.table, ExclusiveStartKey: start }, { "x-tailrace-snapshot": snapshot });
      snapshot = headers.get("x-tailrace-snapshot");
      sequence ??= headers.get("x-tailrace-sequence-number");
      for (const item of page.Items.map(unmarshall)) {
        found.add(this.keyOf(item));
        this.set(item);
      }
      start = page.LastEvaluatedKey;
    } while (start);
    for (const key of [...this.items.keys()]) if (!found.has(key)) this.remove(key);
    return sequence;
  }

  apply(change) {
    this.events++;
    if (change.event === "remove") this.remove(this.keyOf(change.keys));
    else this.set(change.new);
  }

  async start() {
    try {
      this.onState("copying");
      const copied = BigInt(await this.copy());
      this.source = new EventSource(`${this.endpoint}/streams/${encodeURIComponent(this.table)}/events?from=${copied}`);
      this.source.onopen = () => this.onState(`live: ${this.items.size} items`);
      this.source.onerror = () => this.onState("connection lost; the browser tries again");
      this.source.onmessage = (message) => {
        const change = JSON.parse(message.data);
        if (BigInt(change.sequence_number) <= copied) return; // in the copy already
        this.apply(change);
        this.onState(`live: ${this.items.size} items`);
      };
      this.source.addEventListener("gap", () => {
        this.stop();
        this.start();
      });
    } catch (error) {
      this.onState(`${error.message}; trying again`);
      this.timer = setTimeout(() => this.start(), 1000);
    }
  }

  stop() {
    clearTimeout(this.timer);
    this.source?.close();
  }
}
