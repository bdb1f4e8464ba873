# SPDX-License-Identifier: MIT
"""A PostgreSQL server of its own, in a temporary directory and on a Unix socket there."""

import glob
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

USER = "postgres"  # whom the server runs as if we are root, as which it refuses to run


def programs():
    """The directory of the newest server's programs: Debian keeps them out of PATH."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if found:
        return os.path.dirname(max(found, key=lambda p: int(re.search(r"/(\d+)/bin", p).group(1))))
    on_path = shutil.which("initdb")
    if not on_path:
        raise RuntimeError("PostgreSQL's server is not installed: Debian's package postgresql")
    return os.path.dirname(os.path.realpath(on_path))


class Postgres:
    """Use as a context manager. `url()` is what --to takes; start() and kill() come and go."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="tailrace-pg-")
        self.data = os.path.join(self.directory, "data")
        self.bin = programs()
        self.as_user = []
        self.process = None
        if os.geteuid() == 0:
            self.as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]
            entry = pwd.getpwnam(USER)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        self.log_path = os.path.join(self.directory, "log")

    def __enter__(self):
        try:
            self.run([os.path.join(self.bin, "initdb"), "-D", self.data, "-A", "trust", "-U", USER, "-E", "UTF8",
                      "--locale=C", "--no-sync"])
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kill(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, command):
        subprocess.run(self.as_user + command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                       cwd=self.directory, env={**os.environ, "LC_ALL": "C"})

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.as_user + [os.path.join(self.bin, "postgres"), "-D", self.data, "-k", self.directory,
                                "-c", "listen_addresses=", "-c", "max_connections=30", "-c", "shared_buffers=16MB"],
                stdout=log, stderr=log, cwd=self.directory, env={**os.environ, "LC_ALL": "C"})
        deadline = time.monotonic() + 180
        while True:
            try:
                self.sql("SELECT 1")
                return
            except RuntimeError as e:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    with open(self.log_path, encoding="utf-8", errors="replace") as log:
                        raise RuntimeError(f"PostgreSQL does not start: {e}\n{log.read()}") from e
                time.sleep(0.05)

    def kill(self, how=signal.SIGKILL):
        """SIGQUIT: stops at once without a checkpoint. Its children end by themselves."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(120)
        self.process = None

    def url(self, database="postgres"):
        return f"postgres://{USER}@/{database}?host={self.directory}"

    def sql(self, text, database="postgres"):
        """Rows as lists of texts."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-d",
                               self.url(database), "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return [line.split("\x1f") for line in done.stdout.splitlines()]
