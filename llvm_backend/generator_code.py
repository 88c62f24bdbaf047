"""NAME_seed: begins the random numbers of an instance anew, as LLVM IR.

The generator's state, in the instance's: 624 words of the Mersenne twister, whose seeding
(init_genrand of Matsumoto and Nishimura) is the loop here, and the normal number that waits for the
next draw, NaN for none. See lowering/random_words.py.
"""

from __future__ import annotations

from llvm_backend.heap_code import HEAD_BYTES
from llvm_backend.program import Program
from runtime import abi

_SEED = """
define internal void @.seed(ptr %instance, i64 %seed) #1 {{
entry:
{words}
  %first = trunc i64 %seed to i32
{store_first}
  br label %loop
loop:
  %k = phi i32 [ 1, %entry ], [ %following, %loop ]
  %x = phi i32 [ %first, %entry ], [ %next, %loop ]
  %high = lshr i32 %x, 30
  %mixed = xor i32 %x, %high
  %product = mul i32 %mixed, 1812433253
  %next = add i32 %product, %k
{store_next}
  %following = add i32 %k, 1
  %more = icmp ult i32 %following, 624
  br i1 %more, label %loop, label %done
done:
{store_normal}
  ret void
}}

define i32 @{name}_seed(ptr %instance, i64 %seed) #1 {{
  %usable = call i1 @.usable(ptr %instance)
  br i1 %usable, label %go, label %refuse
refuse:
  ret i32 {invalid}
go:
  %messagep = getelementptr i8, ptr %instance, i64 8
  store ptr {empty}, ptr %messagep, align 8
  call void @.seed(ptr %instance, i64 %seed)
  ret i32 {ok}
}}
"""


def generator_functions(program: Program, empty: str) -> str:
    """@.seed and NAME_seed; nothing for a program without random numbers. empty: the message of a
    call that went well."""
    at = program.generator
    if not at:
        return ""
    words = first = following = normal = ""
    if "words" in at:
        words = f"  %words = getelementptr i8, ptr %instance, i64 {HEAD_BYTES + at['words']}"
        first = "  store i32 %first, ptr %words, align 4"
        following = ("  %at = getelementptr i32, ptr %words, i32 %k\n"
                     "  store i32 %next, ptr %at, align 4")
    if "normal" in at:
        normal = (f"  %normal = getelementptr i8, ptr %instance, i64 {HEAD_BYTES + at['normal']}\n"
                  "  store i64 9221120237041090560, ptr %normal, align 8")
    return _SEED.format(name=program.name, invalid=abi.INVALID_ARGUMENT, ok=abi.OK, empty=empty,
                        words=words, store_first=first, store_next=following, store_normal=normal)


def seed_from_options(program: Program) -> str:
    """What the beginning of the state does last: takes the seed of the options, if there is one."""
    if not program.generator:
        return ""
    return """
  %seedp = getelementptr i8, ptr %instance, i64 40
  %seed = load i64, ptr %seedp, align 8
  %default = icmp eq i64 %seed, 0
  br i1 %default, label %seeded, label %reseed
reseed:
  call void @.seed(ptr %instance, i64 %seed)
  br label %seeded
seeded:"""
