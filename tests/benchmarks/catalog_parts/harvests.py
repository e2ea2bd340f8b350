"""A harvest of a large local data.json, in a process of its own whose memory is watched."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from catalog_parts.records import records

from genesis_workbench.catalog.dataset import Dataset


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Write a data.json of `count` records, serve it, harvest it twice, and return records a second and memory."""
    file = folder / "data.json"
    with file.open("w") as out:
        out.write('{"conformsTo": "https://project-open-data.cio.gov/v1.1/schema", "dataset": [')
        for start, batch in enumerate(records(count, seed=3)):
            out.write(",\n" if start else "")
            out.write(",\n".join(json.dumps(native(each)) for each in batch))
        out.write("]}")
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        plan = {"url": f"http://127.0.0.1:{server.server_port}/data.json", "state": str(folder / "state")}
        found = [_harvest(plan), _harvest({**plan, "touched": 1})]
        server.shutdown()
    figures = {
        "harvest_records": count,
        "harvest_file_mb": file.stat().st_size // 10**6,
        "harvest_per_s": round(count / found[0]["seconds"]),
        "harvest_peak_mb": found[0]["peak_mb"],
        "harvest_again_seconds": round(found[1]["seconds"], 2),
    }
    print(figures)
    return figures


def native(record: Dataset) -> dict[str, Any]:
    """Return a record as an agency's data.json has it."""
    assert record.spatial is not None
    assert record.temporal is not None
    return {
        "identifier": f"https://data.example.gov/id/{record.id}",
        "title": record.title,
        "description": record.description,
        "keyword": record.keywords,
        "modified": record.modified,
        "publisher": {"@type": "org:Organization", "name": record.agency},
        "contactPoint": {"fn": "Data desk", "hasEmail": "mailto:data@example.gov"},
        "accessLevel": "public",
        "license": record.licence or "https://www.usa.gov/government-works",
        "landingPage": record.landing_page,
        "spatial": ",".join(f"{value:.4f}" for value in record.spatial),
        "temporal": "/".join(str(end) for end in record.temporal),
        "distribution": [
            {"downloadURL": f"{record.landing_page}.{name}", "mediaType": name, "title": name}
            for name in record.formats
        ],
    }


def _harvest(plan: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "catalog_parts.harvests"],
        input=json.dumps(plan),
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Harvest what stdin says and print seconds and the most memory."""
    from genesis_workbench.catalog.harvest import harvest
    from genesis_workbench.catalog.local import LocalCatalog
    from genesis_workbench.core import garbage
    from genesis_workbench.core.ledger import Ledger
    from genesis_workbench.core.site import CatalogSection, Site, SourceSection

    garbage.collect_less()  # as `workbench harvest` and the runner do
    plan = json.load(sys.stdin)
    section = SourceSection(
        name="big",
        kind="dcat",
        title="Big",
        agency="B",
        url=plan["url"],
        deadline_s=3600,
        max_records=10**7,
        max_bytes=2**40,
    )
    ledger = Ledger.open(f"sqlite:///{plan['state']}/workbench.sqlite")
    catalog = LocalCatalog(
        ledger, Site(name="bench", catalog=CatalogSection(sources=[section])), Path(plan["state"])
    )
    reading = _Reading()
    begun = time.perf_counter()
    report = harvest(catalog, section, allow_private=True)
    seconds = time.perf_counter() - begun
    ledger.close()
    if not report.complete:
        sys.exit(f"The harvest failed: {report}")
    # Not getrusage: its figure begins with what the parent had.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    peak_mb = (peak + reading.peak) // 10**6
    print(json.dumps({"seconds": seconds, "records": report.records, "peak_mb": peak_mb}))


class _Reading:
    """Looks at the process that reads the file, whose most memory is added."""

    def __init__(self) -> None:
        self.peak = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        me = psutil.Process()
        while True:
            for child in me.children():
                with suppress(psutil.NoSuchProcess):
                    self.peak = max(self.peak, child.memory_info().rss)
            time.sleep(0.2)


if __name__ == "__main__":
    main()
