"""What the numbers of a training depend on."""

from pathlib import Path

import pytest

from tune_app.machine import cpu_model

CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC
flags\t\t: fpu sse4_1 avx avx2 {more}

processor\t: 1
model name\t: another
"""


def test_processors_of_one_name_are_told_apart_by_model_and_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: CPUINFO.format(model=1, more=""))
    assert cpu_model() == "AMD EPYC (family 25, model 1, avx2)"
    monkeypatch.setattr(Path, "read_text", lambda _: CPUINFO.format(model=17, more="avx512f"))
    assert cpu_model() == "AMD EPYC (family 25, model 17, avx512f)"
