"""What the generated code may use: a target is a feature map and a vector width, never a CPU name."""

from __future__ import annotations

import functools
from typing import Any

from kgraph.compiler.codegen.binding import llvm
from kgraph.config import settings
from kgraph.errors import ArgumentError
from kgraph.record import record

# The features that decide which code is generated; everything else the host has is passed to LLVM unchanged.
_V3 = "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe"
_V4 = _V3 + ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"


@record
class Target:
    """One kind of machine that code is generated for.

    Attributes:
        isa: "avx512", "avx2", "sse2" or "neon"; chooses tiles and vector width.
        triple: LLVM target triple.
        features: LLVM feature string, such as "+avx2,+fma".
        vector_bits: width of one vector register.
        masked: masked loads and stores of 32- and 64-bit lanes are single instructions.
    """

    isa: str
    triple: str
    features: str
    vector_bits: int
    masked: bool

    def lanes(self, bits: int) -> int:
        """Lanes of `bits` bits that fit one vector register."""
        return self.vector_bits // bits

    @property
    def has_fma(self) -> bool:
        """Whether it multiplies and adds in one instruction."""
        return self.isa != "sse2"

    @property
    def is_x86(self) -> bool:
        """Whether this is an x86-64 machine."""
        return self.triple.startswith("x86_64")

    def function_attributes(self) -> str:
        """Attributes that every generated function carries.

        LLVM prefers 256-bit vectors on many AVX-512 machines; the attribute asks for the full width.
        """
        width = f'"prefer-vector-width"="{self.vector_bits}" "min-legal-vector-width"="{self.vector_bits}"'
        return f"nounwind {width}" if self.is_x86 else "nounwind"

    def outer_attributes(self) -> str:
        """The same for functions that call others and compute no floating-point numbers: LLVM does less about them.

        They would take a tenth of its time. With such numbers bits would depend on it: LLVM's fast selector, which it
        asks for, never joins a product and a sum.
        """
        return f"noinline optnone {self.function_attributes()}"

    def codegen(self) -> dict[str, Any]:
        """How LLVM generates code: position independent, small code model, level 1 on x86.

        Measured there: 6 to 9 % less compile time than level 3, the same bits, and no slower.
        """
        return {"opt": 1 if self.is_x86 else 3, "reloc": "pic", "codemodel": "small"}

    def machine(self) -> Any:
        """A new LLVM target machine for this target."""
        cpu = "x86-64" if self.is_x86 else "generic"
        return llvm().Target.from_triple(self.triple).create_target_machine(
            cpu=cpu, features=self.features, **self.codegen()
        )


def named(name: str) -> Target:
    """The target called `name`: x86-64, x86-64-v3, x86-64-v4, aarch64 or host."""
    if name == "host":
        return host()
    linux = "x86_64-unknown-linux-gnu"
    known = {
        "x86-64": Target("sse2", linux, "+sse2", 128, False),
        "x86-64-v3": Target("avx2", linux, _V3, 256, True),
        "x86-64-v4": Target("avx512", linux, _V4, 512, True),
        "aarch64": Target("neon", "aarch64-unknown-linux-gnu", "+neon", 128, False),
    }
    if name not in known:
        raise ArgumentError(
            "KGRAPH_TARGET_CPU", expected="one of host, " + ", ".join(known), received=repr(name)
        )
    return known[name]


def host() -> Target:
    """The machine this process runs on, from its feature map.

    The CPU's name is not used: virtual machines report names whose features they do not have.
    """
    triple = llvm().get_process_triple()
    features = llvm().get_host_cpu_features()
    on = ",".join(f"+{name}" for name, present in sorted(features.items()) if present)
    if triple.startswith(("aarch64", "arm64")):
        return Target("neon", triple, on, 128, False)
    if all(features.get(f) for f in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
        return Target("avx512", triple, on, 512, True)
    if features.get("avx2") and features.get("fma"):
        return Target("avx2", triple, on, 256, True)
    return Target("sse2", triple, on, 128, False)


@functools.cache
def _cached(name: str) -> Target:
    return named(name)


def current() -> Target:
    """The target that `KGRAPH_TARGET_CPU` names; the host if unset."""
    return _cached(settings().target_cpu)
