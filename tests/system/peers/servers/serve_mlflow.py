"""A server of MLflow on loopback, with its database and artifacts in a folder of its own; prints its port."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.stdin.readline()
signal.signal(
    signal.SIGTERM, lambda *_: sys.exit(0)
)  # whoever started this ends it so: the server below goes first
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with tempfile.TemporaryDirectory() as folder:
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/files", "--serve-artifacts",
    ]  # fmt: skip
    quick = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, stdout=sys.stderr, cwd=Path(folder), env=quick, start_new_session=True)
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        print(json.dumps({"port": port}), flush=True)
        sys.stdin.read()  # whoever started this closes it, or ends
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
