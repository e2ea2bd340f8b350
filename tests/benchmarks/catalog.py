"""The catalog with a million records: search over HTTP by ten people at once, and the same questions to other engines.

Ours is the whole service (`workbench up`), asked with the token of a person in one group; every question has facets, a
bounding box and the label filter. Four kinds of words: in no record, in few, in 2 %, in half of all. *Repeated* draws 1,500
questions from 40 of each kind, as people do, and the peers are asked so too (60 questions); *first* asks each question once, alone, and is what is compared with the
peers. ``ratio`` is the faster peer's time over ours for words in half of all records, the worst kind: 20 is the goal. A harvest of a local data.json is measured too. Last line: JSON.

    python tests/benchmarks/catalog.py --records 50000 --harvest 20000     a quick look
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
import pytest
from catalog_parts import harvests, peers
from catalog_parts.pgstac import PgStac
from catalog_parts.records import GROUPS, SOURCE, records, vocabulary

sys.path.insert(0, str(Path(__file__).parents[1]))
import postgresql
from genesis_workbench.catalog import writing
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.index import terms
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import CatalogStore, SourceRow
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import load_site
from genesis_workbench.core.state import State
from harness import Browser, Workbench
from system.peers.conftest import environment

CLIENTS, QUESTIONS, DRAWN, ALONE = 10, 40, 1500, 7
AT_ONCE, WRITTEN = 6, 20
GROUP = GROUPS[0]
TUNED = {
    "fsync": "off", "shared_buffers": "1GB", "work_mem": "256MB", "maintenance_work_mem": "512MB", "max_wal_size": "4GB",
    "random_page_cost": "1.1", "jit": "off",
}  # fmt: skip
SITE = (
    'name = "benchmark"\n[[catalog.sources]]\nname = "bench"\nkind = "dcat"\ntitle = "Bench"\nagency = "B"\n'
)
Box = tuple[float, float, float, float]
Period = tuple[str, str]
Question = tuple[str, Box]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--harvest", type=int, default=500_000)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep what was filled here, and use it the next time")
    chosen = parser.parse_args()
    figures: dict[str, Any] = {"records": chosen.records, "words_from": vocabulary()[2]}
    kinds = questions(chosen.records)
    with tempfile.TemporaryDirectory(prefix="catalog-") as temporary:
        folder = chosen.folder or Path(temporary)
        if not (folder / "state").exists():
            folder.mkdir(parents=True, exist_ok=True)
            figures |= fill(folder, chosen.records)
        figures |= ours(folder, kinds)
    if chosen.harvest:
        with tempfile.TemporaryDirectory(prefix="harvest-") as folder:
            figures |= harvests.measure(Path(folder), chosen.harvest)
    if not chosen.no_peers:
        figures |= others(chosen.records, kinds)
    for name in [each for each in figures if each.endswith("_half_ms")]:
        figures[name.replace("_ms", "_ratio")] = round(figures[name] / figures["half_first_ms"], 1)
    ratios = [value for name, value in figures.items() if name.endswith("_half_ratio")]
    print(
        json.dumps(
            {"benchmark": "catalog", "ratio": min(ratios, default=None), "goal": 20, "figures": figures}
        )
    )


def questions(count: int) -> dict[str, list[Question]]:
    """Return questions of each kind, by how many of 20,000 records have the word."""
    holds: Counter[str] = Counter()
    sampled = 0
    for batch in records(min(count, 20_000)):
        for each in batch:
            sampled += 1
            holds.update(set(terms(f"{each.title} {' '.join(each.keywords)} {each.description}")))
    chance = random.Random(7)
    words = [word for word in vocabulary()[0] if word.isalpha() and len(word) > 2 and len(terms(word)) == 1]
    share = {word: holds[terms(word)[0]] / sampled for word in words}
    near = {
        "none": [f"{word}qzx{number}" for number, word in enumerate(words[:QUESTIONS])],
        "few": sorted((w for w in words if share[w]), key=share.__getitem__)[:QUESTIONS],
        "two_percent": [w for w in words if 0.015 < share[w] < 0.027],
        "half": sorted(words, key=lambda w: abs(share[w] - 0.5))[:4],
    }
    for name, found in near.items():
        print(f"{name}: {len(found)} words, such as {found[:4]}, in {share.get(found[0], 0):.2%}")
    return {
        name: [(chance.choice(found), box(chance)) for _ in range(QUESTIONS)] for name, found in near.items()
    }


def box(chance: random.Random) -> Box:
    """Return a box of about half of the Earth."""
    west, south = chance.randint(-180, -60), chance.randint(-90, -40)
    return west, south, west + 240, south + 120


def fill(folder: Path, count: int) -> dict[str, Any]:
    """Write the records into a state folder and index them, as a harvest and the service would."""
    (folder / "site.toml").write_text(SITE)
    state = State(folder / "state")
    state.folder.mkdir()
    ledger = Ledger.open(state.ledger_url())
    catalog = LocalCatalog(ledger, load_site(folder / "site.toml"), state.folder)
    begun, made = time.perf_counter(), 0.0
    row = SourceRow(SOURCE, "Bench", "B", "public")
    run = writing.begin(catalog.store, row, fingerprint="", incremental=False, fresh=True, max_age_s=0)
    batches = records(count)
    while True:
        before = time.perf_counter()
        batch = next(batches, None)
        made += time.perf_counter() - before
        if batch is None:
            break
        run = writing.write(catalog.store, run, Page(list(batch)), room=count + 1).run
    writing.finish(catalog.store, run, reason="", failed=False)
    written = time.perf_counter() - begun - made
    begun = time.perf_counter()
    catalog.catch_up(3600)
    indexed = time.perf_counter() - begun
    ledger.close()
    index = sum(file.stat().st_size for file in (state.folder / "index").rglob("*") if file.is_file())
    found = {
        "written_per_s": round(count / written),
        "indexed_per_s": round(count / indexed),
        "index_bytes_per_record": round(index / count, 1),
    }
    print(found)
    return found


def ours(folder: Path, kinds: dict[str, list[Question]]) -> dict[str, Any]:
    """Ask our service."""
    figures: dict[str, Any] = {}
    chance = random.Random(11)
    with Workbench(folder / "state", folder / "site.toml") as workbench:
        health = workbench.service_url + "/health"
        workbench.until(lambda: httpx.get(health, trust_env=False).status_code == httpx.codes.OK)
        # A kept folder has the people of the runs before.
        name = f"ada-{os.getpid()}"
        workbench.add(name, GROUP)
        browser = Browser(workbench)
        browser.sign_in(name, workbench.passwords[name])
        plan = {
            "port": int(workbench.service_url.split(":")[2].partition("/")[0]),
            "token": browser.make_token(name),
        }
        ask(plan, [path("warm", (-10, -10, 10, 10))], 1)
        service = next(
            each for each in workbench.processes() if {"genesis_services", "api"} <= set(each.cmdline())
        )
        for name, each in kinds.items():
            alone = ask(plan, [path(*question) for question in each[:ALONE]], 1)
            drawn = [path(*chance.choice(each)) for _ in range(DRAWN)]
            together = ask(plan, [path(*q) for q in each[ALONE:]], CLIENTS)
            before = seconds_of(service)
            repeated = ask(plan, drawn, CLIENTS)
            figures |= {
                f"{name}_first_ms": milliseconds(statistics.median(alone)),
                f"{name}_first_together_p95_ms": milliseconds(p95(together)),
                f"{name}_repeated_p50_ms": milliseconds(statistics.median(repeated)),
                f"{name}_repeated_p95_ms": milliseconds(p95(repeated)),
                f"{name}_repeated_processor_ms": milliseconds((seconds_of(service) - before) / DRAWN),
            }
            print({key: value for key, value in figures.items() if key.startswith(name)})
        places = ask(plan, [place_path(*each) for each in places_and_times()], 1)
        figures["place_and_time_first_ms"] = milliseconds(statistics.median(places))
        many = [place_path(*each) for each in places_and_times(QUESTIONS)]
        repeated = ask(plan, [chance.choice(many) for _ in range(DRAWN)], CLIENTS)
        figures["place_and_time_repeated_p95_ms"] = milliseconds(p95(repeated))
        figures |= followed(folder, plan)
        memory = service.memory_full_info()
        figures |= {"service_rss_mb": memory.rss // 10**6, "service_private_mb": memory.uss // 10**6}
        print(
            {"service_rss_mb": figures["service_rss_mb"], "service_private_mb": figures["service_private_mb"]}
        )
        browser.close()
    return figures


def path(word: str, box: Box) -> str:
    """Return the request of one question."""
    asked = urlencode({"q": word, "bbox": ",".join(map(str, box))})
    return f"/services/workbench/api/catalog/datasets?{asked}"


def followed(folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Write records from this process, one after the other, and see how long the service takes to find each."""
    ledger = Ledger.open(State(folder / "state").ledger_url())
    store = CatalogStore(ledger.engine)
    taken = []
    headers = {"Authorization": f"token {plan['token']}"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{plan['port']}", headers=headers, trust_env=False
    ) as client:
        for number in range(WRITTEN):
            word = f"zqx{os.getpid()}n{number}"
            record = Dataset(id=f"late.{word}", title=f"Record {word}", source="late", agency="B")
            begun = time.perf_counter()
            writing.put(store, SourceRow("late", "Late", "B", "public"), [Page([record])])
            while not client.get("/services/workbench/api/catalog/datasets", params={"q": word}).json()[
                "total"
            ]:
                time.sleep(0.01)
            taken.append(time.perf_counter() - begun)
    ledger.close()
    found = {
        "followed_p50_ms": milliseconds(statistics.median(taken)),
        "followed_worst_ms": milliseconds(max(taken)),
    }
    print(found)
    return found


def places_and_times(count: int = ALONE) -> list[tuple[Box, Period]]:
    """Return what is asked by bounding box and time alone: half of the Earth, and five years."""
    chance = random.Random(5)
    years = [chance.randint(1985, 2015) for _ in range(count)]
    return [(box(chance), (f"{year}-01-01", f"{year + 5}-01-01")) for year in years]


def place_path(box: Box, period: Period) -> str:
    """Return the request of one question by place and time."""
    asked = urlencode({"bbox": ",".join(map(str, box)), "period": ",".join(period)})
    return f"/services/workbench/api/catalog/datasets?{asked}"


def ask(plan: dict[str, Any], paths: list[str], clients: int) -> list[float]:
    """Ask from another process and return the seconds of each question."""
    script = Path(__file__).parent / "catalog_parts/clients.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps({**plan, "clients": clients, "paths": paths}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or done.stderr:
        sys.exit(done.stderr)
    return [float(each) for each in json.loads(done.stdout)]


def others(count: int, kinds: dict[str, list[Question]]) -> dict[str, Any]:
    """Ask the peers, one after the other."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fts5-") as folder:
        figures |= other(peers.Fts5(Path(folder)), count, kinds)
    if postgresql.programs() is None:
        print("PostgreSQL is not installed: left out.")
        return figures
    with postgresql.server("bench", **TUNED) as address:
        figures |= other(peers.Postgres(f"postgresql://{address}"), count, kinds)
    with postgresql.server("bench", **TUNED) as address:
        figures |= pgstac(f"postgresql://{address}", count)
    return figures


def pgstac(url: str, count: int) -> dict[str, Any]:
    """Ask pgSTAC by place and time; the first question warms it up."""
    try:
        python = environment("stac")
    except pytest.skip.Exception as reason:
        print(f"pgSTAC is left out: {reason}")
        return {}
    peer = PgStac(url, python)
    begun = time.perf_counter()
    peer.load(records(count))
    asked = places_and_times()
    chance, many = random.Random(11), places_and_times(QUESTIONS)
    drawn = [[chance.choice(many) for _ in range(AT_ONCE)] for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        repeated = [
            each for part in pool.map(lambda some: peer.timed(some, counted=False), drawn) for each in part
        ]
    figures = {
        "pgstac_place_and_time_repeated_p95_ms": milliseconds(p95(repeated)),
        "pgstac_loaded_s": round(time.perf_counter() - begun),
        "pgstac_place_and_time_ms": milliseconds(statistics.median(peer.timed(asked, counted=False)[1:])),
        "pgstac_place_and_time_counted_ms": milliseconds(
            statistics.median(peer.timed(asked, counted=True)[1:])
        ),
    }
    print(figures)
    return figures


def other(peer: peers.Peer, count: int, kinds: dict[str, list[Question]]) -> dict[str, Any]:
    """Load and ask one peer; each kind's first question warms it up."""
    begun = time.perf_counter()
    peer.load(records(count))
    figures: dict[str, Any] = {f"{peer.name}_loaded_s": round(time.perf_counter() - begun)}
    for name, each in kinds.items():
        taken = peers.timed(peer, each[:ALONE], GROUP)[1:]
        figures[f"{peer.name}_{name}_ms"] = milliseconds(statistics.median(taken))
    chance = random.Random(11)
    drawn = [chance.choice(kinds["half"]) for _ in range(CLIENTS * AT_ONCE)]
    repeated = peers.together(peer, drawn, GROUP, CLIENTS)
    figures[f"{peer.name}_half_repeated_p95_ms"] = milliseconds(p95(repeated))
    print(figures)
    return figures


def seconds_of(process: psutil.Process) -> float:
    """Return the processor time that a process has had."""
    used = process.cpu_times()
    return float(used.user + used.system)


def p95(taken: list[float]) -> float:
    """Return what 95 of 100 stay below."""
    return sorted(taken)[min(int(len(taken) * 0.95), len(taken) - 1)]


def milliseconds(seconds: float) -> float:
    """Return milliseconds, to a hundredth."""
    return round(seconds * 1000, 2)


if __name__ == "__main__":
    main()
