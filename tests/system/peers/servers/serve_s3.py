"""An S3 server (moto) with one bucket, run by the tests in an environment of its own; prints its port."""

import json
import sys

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
_, port = server.get_host_and_port()
print(json.dumps({"port": port}), flush=True)
sys.stdin.read()
server.stop()
