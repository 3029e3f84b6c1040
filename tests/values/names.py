"""What the table of values writes its types and values with."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa
from PIL import Image
from pydantic import Field

import agex
from tests.values import classes

NAMES: dict[str, Any] = {
    **{name: thing for name, thing in vars(classes).items() if not name.startswith("_")},
    **dict(
        re=re, deque=deque, Iterator=Iterator, Mapping=Mapping, Sequence=Sequence, Decimal=Decimal, Fraction=Fraction
    ),
    **dict(date=date, datetime=datetime, time=time, timedelta=timedelta, timezone=timezone, ZoneInfo=ZoneInfo),
    **dict(IPv4Address=IPv4Address, IPv6Network=IPv6Network, Path=Path, UUID=UUID),
    **dict(Annotated=Annotated, Any=Any, Literal=Literal, Field=Field, matplotlib=matplotlib),
    **dict(agex=agex, Callable=Callable),
    **dict(np=np, npt=npt, pd=pd, go=go, pl=pl, pa=pa, Image=Image),
}


def made(code: str) -> Any:
    """What the table writes, as a type or a value."""
    return eval(code, dict(NAMES))
