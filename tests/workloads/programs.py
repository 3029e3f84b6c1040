"""What people do with Python: each program ends in a value that is known. Written in text, because it runs in workers.

`registered`: the modules that restricted code needs for it; empty where it takes what the inner sandbox never gives.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """value: what the program's last expression gives. library: an installed one that it needs, by its import name."""

    name: str
    code: str
    value: object
    registered: tuple[str, ...] = ()
    library: str = ""


WORKLOADS = (
    Workload(
        "numpy matmul",
        """
import numpy as np
a = np.arange(250_000, dtype=float).reshape(500, 500) % 7
float((a @ a)[3, 5]) == float(sum(a[3, k] * a[k, 5] for k in range(500)))
""",
        True,
        ("numpy",),
        "numpy",
    ),
    Workload(
        "numpy svd",
        """
import numpy as np
a = np.random.default_rng(1).normal(size=(120, 80))
u, s, vt = np.linalg.svd(a, full_matrices=False)
bool(np.allclose(u * s @ vt, a))
""",
        True,
        ("numpy", "numpy.linalg", "numpy.random"),
        "numpy",
    ),
    Workload(
        "numpy fft",
        """
import numpy as np
wave = np.sin(2 * np.pi * 50 * np.arange(1024) / 1024)
int(np.argmax(np.abs(np.fft.rfft(wave))))
""",
        50,
        ("numpy", "numpy.fft"),
        "numpy",
    ),
    Workload(
        "numpy large array",
        "import numpy as np\nx = np.ones(8_000_000)\nfloat(x.sum() + np.sort(x[::-1])[0])",
        8_000_001.0,
        ("numpy",),
        "numpy",
    ),
    Workload(
        "pandas groupby and join",
        """
import pandas as pd
left = pd.DataFrame({"k": list("abca"), "v": [1, 2, 3, 4]})
right = pd.DataFrame({"k": ["a", "b"], "w": [10.0, 20.0]})
joined = left.merge(right, on="k", how="left")
text = str(joined.describe())
float(joined.groupby("k")["w"].sum()["a"]) + len(text) * 0
""",
        20.0,
        ("pandas",),
        "pandas",
    ),
    Workload(
        "pandas dates",
        """
import pandas as pd
days = pd.date_range("2024-01-30", periods=60, freq="D", tz="Europe/Berlin")
monthly = pd.Series(range(60), index=days).resample("MS").sum()
int(monthly.iloc[-1])
""",
        1305,
        ("pandas",),
        "pandas",
    ),
    Workload(
        "pandas csv in the workspace",
        """
import pandas as pd
pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_csv("t.csv", index=False)
pd.read_csv("t.csv")["b"].tolist()
""",
        ["x", "y"],
        ("pandas",),
        "pandas",
    ),
    Workload(
        "pyarrow parquet in the workspace",
        """
import pyarrow as pa
import pyarrow.parquet as pq
pq.write_table(pa.table({"x": list(range(1000)), "y": ["t"] * 1000}), "t.parquet", compression="zstd")
back = pq.read_table("t.parquet", columns=["x"])
[back.num_rows, back.column("x")[999].as_py()]
""",
        [1000, 999],
        library="pyarrow",
    ),
    Workload(
        "pandas parquet in the workspace",
        """
import pandas as pd
pd.DataFrame({"a": [1.5, 2.5]}).to_parquet("t.parquet")
float(pd.read_parquet("t.parquet")["a"].sum())
""",
        4.0,
        library="pyarrow",
    ),
    Workload(
        "matplotlib Agg",
        """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([1, 2, 3], [1, 4, 9], label="squares")
axes.set_title("a title")
axes.legend()
figure.savefig("plot.png", dpi=80)
plt.close(figure)
open("plot.png", "rb").read(8)
""",
        b"\x89PNG\r\n\x1a\n",
        library="matplotlib",
    ),
    Workload(
        "scikit-learn",
        """
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
X, y = make_classification(n_samples=300, n_features=8, class_sep=2.0, random_state=0)
model = make_pipeline(StandardScaler(), LogisticRegression())
forest = RandomForestClassifier(n_estimators=20, random_state=0).fit(X, y)
bool(cross_val_score(model, X, y, cv=3).mean() > 0.8 and forest.score(X, y) > 0.95)
""",
        True,
        library="sklearn",
    ),
    # It finds out which numeric libraries are loaded, by /proc where there is one.
    Workload(
        "scikit-learn clustering",
        """
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
X, _ = make_blobs(n_samples=60, centers=2, random_state=0)
len(set(KMeans(n_clusters=2, n_init=2, random_state=0).fit(X).labels_))
""",
        2,
        ("sklearn.cluster", "sklearn.datasets"),
        "sklearn",
    ),
    Workload(
        "scikit-learn search over parameters",
        """
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
X, y = make_classification(n_samples=100, n_features=8, class_sep=2.0, random_state=0)
search = GridSearchCV(RandomForestClassifier(n_jobs=1, random_state=0), {"n_estimators": [5, 10]}, cv=2, n_jobs=2)
bool(search.fit(X, y).best_score_ > 0.8)
""",
        True,
        ("sklearn.datasets", "sklearn.ensemble", "sklearn.model_selection"),
        "sklearn",
    ),
    Workload(
        "joblib on threads",
        """
from joblib import Parallel, cpu_count, delayed
[cpu_count() > 0, *Parallel(n_jobs=2, backend="threading")(delayed(pow)(n, 2) for n in range(4))]
""",
        [True, 0, 1, 4, 9],
        library="joblib",
    ),
    Workload(
        "psutil and what the libraries make of the machine",
        """
import polars, psutil, pyarrow
[psutil.cpu_count() > 0, psutil.virtual_memory().total > 0, pyarrow.cpu_count() > 0, polars.thread_pool_size() > 0]
""",
        [True] * 4,
        library="polars",
    ),
    Workload(
        "pydantic",
        """
from pydantic import BaseModel, Field, ValidationError
class Order(BaseModel):
    number: int = Field(gt=0)
    items: list[str] = []
order = Order.model_validate({"number": "7", "items": ["a"]})
try:
    Order(number=0)
    refused = False
except ValidationError:
    refused = True
[order.model_dump_json(), refused]
""",
        ['{"number":7,"items":["a"]}', True],
        ("pydantic",),
        "pydantic",
    ),
    Workload(
        "sqlite3",
        """
import sqlite3
with sqlite3.connect("data.db") as db:
    db.execute("create table t (k text primary key, v integer)")
    db.executemany("insert into t values (?, ?)", [(str(n), n) for n in range(1000)])
    db.execute("create index i on t (v)")
db.close()
memory = sqlite3.connect(":memory:")
memory.execute("attach 'data.db' as other")
memory.execute("select sum(v) from other.t where v >= 990").fetchone()[0]
""",
        9945,
    ),
    Workload(
        "threads",
        """
import queue, threading
from concurrent.futures import ThreadPoolExecutor
lock, done, total = threading.Lock(), queue.Queue(), 0
def add(n):
    global total
    for _ in range(200):
        with lock:
            total += n
    done.put(n)
threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with ThreadPoolExecutor(4) as pool:
    squares = sum(pool.map(lambda n: n * n, range(10)))
[total, done.qsize(), squares]
""",
        [5600, 8, 285],
    ),
    Workload(
        "asyncio",
        """
import asyncio
async def work(n):
    await asyncio.sleep(0.01)
    return await asyncio.to_thread(lambda: n * 2)
async def main():
    async with asyncio.timeout(10):
        return await asyncio.gather(*(work(n) for n in range(5)))
asyncio.run(main())
""",
        [0, 2, 4, 6, 8],
    ),
    Workload(
        "zoneinfo",
        """
import datetime, zoneinfo
summer = datetime.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York"))
str(summer.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo")))
""",
        "2024-07-02 01:00:00+09:00",
        ("datetime", "zoneinfo"),
    ),
    Workload(
        "tempfile",
        """
import os, tempfile
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile("w+", dir=folder, suffix=".txt") as file:
    file.write("text")
    file.flush()
    with open(file.name) as again:
        read = again.read()
with tempfile.TemporaryFile() as nameless, tempfile.SpooledTemporaryFile(max_size=10) as spooled:
    nameless.write(b"x" * 100)
    spooled.write(b"y" * 100)
[read, os.path.exists(folder)]
""",
        ["text", False],
    ),
    Workload(
        "csv",
        """
import csv
with open("t.csv", "w", newline="") as file:
    csv.writer(file).writerows([["a", "b"], [1, "x,y"]])
with open("t.csv", newline="") as file:
    rows = list(csv.DictReader(file))
rows
""",
        [{"a": "1", "b": "x,y"}],
        ("csv",),
    ),
    Workload(
        "zipfile and tarfile",
        """
import tarfile, zipfile
with zipfile.ZipFile("t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("inside/file.txt", "text" * 1000)
with zipfile.ZipFile("t.zip") as archive:
    archive.extractall("out")
with tarfile.open("t.tgz", "w:gz") as archive:
    archive.add("out")
with tarfile.open("t.tgz") as archive:
    names = archive.getnames()
[len(open("out/inside/file.txt").read()), names[-1]]
""",
        [4000, "out/inside/file.txt"],
    ),
    Workload(
        "logging",
        """
import logging, logging.handlers
log = logging.getLogger("workload")
log.setLevel(logging.DEBUG)
handler = logging.handlers.RotatingFileHandler("app.log", maxBytes=500, backupCount=2)
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
log.addHandler(handler)
for number in range(40):
    log.info("line %d", number)
handler.close()
open("app.log").read().splitlines()[-1]
""",
        "INFO line 39",
    ),
    Workload(
        "files of the workspace",
        """
import os, pathlib, shutil
folder = pathlib.Path("a") / "b"
folder.mkdir(parents=True)
(folder / "c.txt").write_text("text")
shutil.copytree("a", "copy")
os.rename("copy/b/c.txt", "copy/moved.txt")
found = sorted(str(path) for path in pathlib.Path("copy").rglob("*"))
shutil.rmtree("a")
[found, pathlib.Path("a").exists(), pathlib.Path("copy/moved.txt").stat().st_size]
""",
        [["copy/b", "copy/moved.txt"], False, 4],
    ),
    Workload(
        "the standard library of calculations",
        """
import collections, decimal, fractions, itertools, json, math, re, statistics
counts = collections.Counter(re.findall(r"[a-z]+", "a b a"))
price = decimal.Decimal("1.10") + decimal.Decimal("2.20")
half = sum((fractions.Fraction(1, 4) for _ in range(2)), fractions.Fraction(0))
pairs = len(list(itertools.combinations(range(5), 2)))
json.dumps([counts.most_common(1), str(price), str(half), pairs, math.comb(5, 2), statistics.median([3, 1, 2])])
""",
        '[[["a", 2]], "3.30", "1/2", 10, 10, 2]',
        ("collections", "decimal", "fractions", "itertools", "json", "math", "re", "statistics"),
    ),
)
