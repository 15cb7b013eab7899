"""Runs a static x86-64 Linux program on an emulated processor, which this machine need not have: kernels for AVX-512 and VNNI are
tested so. Bochs' processor (package bochscpu-python) executes the program; this file is the operating system that it sees:
memory, threads that take turns, and the few calls that Rust's tests make.

usage: emulate_x86_64.py PROCESSOR PROGRAM [ARGUMENT...]

PROCESSOR is one of skylake-x (AVX-512 without VNNI), tigerlake (both) or arrow-lake (AVX-VNNI without AVX-512). The exit code is
the program's; 125 where it did what cannot be emulated. With REPEDGE_COUNT_INSTRUCTIONS set, their number is the last line of stderr.
"""

import ctypes
import errno
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROCESSORS = {
    "skylake-x": "_Z29create_corei7_skylake_x_cpuidP8BX_CPU_C",
    "tigerlake": "_Z22create_tigerlake_cpuidP8BX_CPU_C",
    "arrow-lake": "_Z23create_arrow_lake_cpuidP8BX_CPU_C",
}
# The one that the package always makes.
DEFAULT_PROCESSOR = "_Z23create_corei3_cnl_cpuidP8BX_CPU_C"

# What the package needs of glibc 2.38, for machines with an older one: the names under which C23's functions go.
NEWER_LIBC = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
unsigned long long __isoc23_strtoull(const char *text, char **end, int base) { return strtoull(text, end, base); }
int __isoc23_sscanf(const char *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int found = vsscanf(text, format, list);
    va_end(list);
    return found;
}
"""


def provide_newer_libc():
    if hasattr(ctypes.CDLL(None), "__isoc23_strtoull"):
        return
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "newer.c"), Path(folder, "newer.so")
        source.write_text(NEWER_LIBC)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


provide_newer_libc()
import bochscpu  # noqa: E402
from bochscpu import memory as physical  # noqa: E402

PAGE = 1 << 12
HUGE_PAGE = 1 << 30
# All memory there is. Addresses of the program are those of the machine.
MEMORY = 6 * HUGE_PAGE
TOP_TABLE, HUGE_TABLE, CALLED, NO_TABLE = 0x10000, 0x11000, 0x20000, 0x30000
STACK, MAPPINGS = 0xF000_0000, 0x1_0000_0000
# Mappings start at multiples of this.
ALIGNMENT = 1 << 21
HALT = b"\xf4"
ALL_ONES = (1 << 64) - 1


def choose_processor(name):
    """The package has all of Bochs' models but makes always the same: its function jumps to that of another here."""
    library = ctypes.CDLL(bochscpu._bochscpu.__file__)
    old, new = (
        ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value for symbol in (DEFAULT_PROCESSOR, PROCESSORS[name])
    )
    page = old & ~(PAGE - 1)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if protect(page, 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) != 0:
        sys.exit("cannot choose a processor: " + os.strerror(ctypes.get_errno()))
    # mov rax, new; jmp rax
    jump = b"\x48\xb8" + struct.pack("<Q", new) + b"\xff\xe0"
    ctypes.memmove(old, jump, len(jump))


class Memory:
    """The program's memory, which the processor sees page by page once it is touched."""

    def __init__(self):
        self.mapping = mmap.mmap(-1, MEMORY, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.bytes = memoryview(self.mapping)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.mapping))
        present_writable_user, of_a_gigabyte = 0x07, 0x80
        self.put(TOP_TABLE, words(HUGE_TABLE | present_writable_user))
        pages = (index * HUGE_PAGE | of_a_gigabyte | present_writable_user for index in range(MEMORY // HUGE_PAGE))
        self.put(HUGE_TABLE, words(*pages))
        self.put(CALLED, HALT)

    def touch(self, address):
        page = address & ~(PAGE - 1)
        if page >= MEMORY:
            give_up(f"memory at {page:#x} was touched, of which there are {MEMORY:#x} bytes")
        physical.page_insert(page, self.base + page)

    def put(self, address, data):
        self.bytes[address : address + len(data)] = data

    def get(self, address, length):
        return bytes(self.bytes[address : address + length])

    def number(self, address, width=4):
        return int.from_bytes(self.get(address, width), "little")

    def text(self, address):
        return self.get(address, self.mapping.find(b"\0", address) - address)


def words(*values):
    return struct.pack(f"<{len(values)}Q", *(value & ALL_ONES for value in values))


def give_up(reason):
    print(f"emulate_x86_64.py: {reason}", file=sys.stderr, flush=True)
    # The emulator's frames lie between here and main: no exception gets through them.
    os._exit(125)


class Program:
    """A static program, loaded where it wants to lie."""

    def __init__(self, memory, path):
        data = Path(path).read_bytes()
        kind, machine = struct.unpack_from("<HH", data, 16)
        if data[:5] != b"\x7fELF\x02" or (kind, machine) != (2, 62):
            give_up(f"{path} is no x86-64 program at fixed addresses: link it with relocation-model=static")
        self.entry, headers = struct.unpack_from("<QQ", data, 24)
        self.header_size, self.header_count = struct.unpack_from("<HH", data, 54)
        self.headers, self.end = 0, 0
        for index in range(self.header_count):
            kind, _, offset, address, _, in_file, in_memory = struct.unpack_from(
                "<IIQQQQQ", data, headers + index * self.header_size
            )
            if kind == 3:
                give_up(f"{path} is linked dynamically: link it with target-feature=+crt-static")
            if kind != 1:
                continue
            memory.put(address, data[offset : offset + in_file])
            self.end = max(self.end, address + in_memory)
            if offset <= headers < offset + in_file:
                self.headers = address + headers - offset

    def stack(self, memory, arguments):
        """Puts on the stack what a program finds there, and tells where that starts."""
        top = STACK

        def push(data):
            nonlocal top
            top -= len(data)
            memory.put(top, data)
            return top

        named = [push(os.fsencode(argument) + b"\0") for argument in arguments]
        variables = [push(os.fsencode(f"{name}={value}") + b"\0") for name, value in os.environ.items()]
        random = push(os.urandom(16))
        # By the names of elf.h: AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_ENTRY, AT_CLKTCK, AT_SECURE, AT_RANDOM, AT_EXECFN.
        facts = {
            3: self.headers, 4: self.header_size, 5: self.header_count, 6: PAGE, 9: self.entry, 17: 100, 23: 0, 25: random,
            31: named[0],
        }  # fmt: skip
        facts = [number for fact in [*facts.items(), (0, 0)] for number in fact]
        start = words(len(named), *named, 0, *variables, 0, *facts)
        top = (top - len(start)) & ~63
        memory.put(top, start)
        return top


def segment(selector, attributes, base=0):
    found = bochscpu.Segment()
    found.present, found.selector, found.attr = True, selector, attributes
    found.base, found.limit = base, 0xFFFFFFFF
    return found


def data_segment(base=0):
    return segment(0x18, 0xC093, base)


def initial_state(entry, stack):
    """A processor in long mode, with pages, all vectors, and system calls that halt it."""
    state = bochscpu.State()
    state.cr0, state.cr3, state.cr4 = 0x80050033, TOP_TABLE, 0x506F8
    state.efer, state.xcr0 = 0xD01, 0xE7
    state.star, state.lstar = (0x23 << 48) | (0x10 << 32), CALLED
    state.rflags, state.rip, state.rsp = 0x202, entry, stack
    state.mxcsr, state.mxcsr_mask, state.fpcw, state.fptw = 0x1F80, 0xFFFF, 0x37F, 0xFFFF
    state.cs, state.tr, state.ldtr = segment(0x10, 0xA09B), segment(0x40, 0x8B), segment(0, 0x82)
    for name in ("ds", "es", "ss", "fs", "gs"):
        setattr(state, name, data_segment())
    table = bochscpu.GlobalSegment()
    table.base, table.limit = NO_TABLE, 0xFFF
    state.gdtr = state.idtr = table
    return state


class Thread:
    """What is kept of a thread while another runs."""

    def __init__(self, number, clears=0):
        self.number = number
        # Where its end is told, by a zero and to whoever waits there.
        self.clears = clears
        self.state = None
        # The address of the number that it waits for another to change, and whether only for a time.
        self.waits_at = None
        self.has_limit = False


class Process:
    """A program while it runs. One thread runs at a time, until it waits, yields or ends."""

    def __init__(self, program, arguments):
        self.memory = Memory()
        loaded = Program(self.memory, program)
        self.heap_start = self.heap = (loaded.end + PAGE - 1) & ~(PAGE - 1)
        self.mapped = MAPPINGS
        self.thread = Thread(1)
        self.threads = [self.thread]
        self.last_number = 1
        self.stopped_by = None
        self.executed = 0
        self.session = bochscpu.Session()
        self.session.missing_page_handler = self.memory.touch
        self.session.cpu.state = initial_state(loaded.entry, loaded.stack(self.memory, [program, *arguments]))

    def run(self):
        hook = bochscpu.Hook()
        hook.hlt = lambda session, _: session.stop()
        hook.exception = self.fault
        if os.environ.get("REPEDGE_COUNT_INSTRUCTIONS"):
            hook.before_execution = self.count
        while True:
            self.session.run([hook])
            state = self.session.cpu.state
            if self.stopped_by is not None:
                code = self.memory.get(state.rip, 16).hex(" ")
                give_up(f"exception {self.stopped_by} at {state.rip:#x}, of {state.cr2:#x}: {code}")
            self.thread.state = state
            self.call(state)
            self.session.cpu.state = self.thread.state

    def fault(self, session, _, number, __):
        self.stopped_by = number
        session.stop()

    def count(self, *_):
        self.executed += 1

    def call(self, state):
        """One system call, by its number in asm/unistd_64.h."""
        what = CALLS.get(state.rax)
        arguments = (state.rdi, state.rsi, state.rdx, state.r10, state.r8, state.r9)
        result = what(self, *arguments[: what.__code__.co_argcount - 1]) if what else -errno.ENOSYS
        # `None` where the call gives its result itself, or later.
        if result is not None:
            give(state, result)

    # Memory.

    def brk(self, end):
        if end >= self.heap_start:
            self.heap = end
        return self.heap

    def mmap(self, address, length, _, flags, descriptor):
        if descriptor & 0xFFFFFFFF != 0xFFFFFFFF:
            return -errno.ENODEV
        if flags & mmap_fixed:
            self.memory.put(address, bytes(length))
            return address
        address = self.mapped
        self.mapped += (length + ALIGNMENT - 1) & ~(ALIGNMENT - 1)
        # Nothing is ever unmapped: addresses are not used twice, so what lies there is zero.
        if self.mapped > MEMORY:
            return -errno.ENOMEM
        return address

    def mremap(self, address, old, new):
        if new <= old:
            return address
        moved = self.mmap(0, new, 0, 0, ALL_ONES)
        if moved > 0:
            self.memory.put(moved, self.memory.get(address, old))
        return moved

    def nothing(self):
        return 0

    # Files.

    def read(self, descriptor, address, length):
        try:
            data = os.read(descriptor, length)
        except OSError as error:
            return -error.errno
        self.memory.put(address, data)
        return len(data)

    def write(self, descriptor, address, length):
        try:
            return os.write(descriptor, self.memory.get(address, length))
        except OSError as error:
            return -error.errno

    def writev(self, descriptor, parts, count):
        written = 0
        for index in range(count):
            address, length = struct.unpack("<QQ", self.memory.get(parts + 16 * index, 16))
            result = self.write(descriptor, address, length)
            if result < 0:
                return result
            written += result
        return written

    def openat(self, _, path, flags, mode):
        try:
            return os.open(self.memory.text(path), flags & 0xFFFFFFFF, mode & 0o777)
        except OSError as error:
            return -error.errno

    def close(self, descriptor):
        if descriptor > 2:
            os.close(descriptor)
        return 0

    def fcntl(self, _, command):
        return os.O_RDWR if command == 3 else 0

    # Time and what a process is asked about itself.

    def clock_gettime(self, clock, address):
        self.memory.put(address, words(*divmod(time.clock_gettime_ns(clock), 10**9)))
        return 0

    def getrandom(self, address, length):
        self.memory.put(address, os.urandom(length))
        return length

    def sched_getaffinity(self, _, __, address):
        self.memory.put(address, words(1))
        return 8

    def prlimit64(self, _, __, ___, old):
        if old:
            self.memory.put(old, words(8 << 20, ALL_ONES))
        return 0

    def arch_prctl(self, what, address):
        set_fs = 0x1002
        if what != set_fs:
            return -errno.EINVAL
        self.thread.state.fs = data_segment(address)
        return 0

    def exit_group(self, code):
        sys.stdout.flush()
        if os.environ.get("REPEDGE_COUNT_INSTRUCTIONS"):
            print(self.executed, file=sys.stderr, flush=True)
        os._exit(code & 0xFF)

    def tgkill(self, _, __, signal):
        give_up(f"the program ended itself by signal {signal}")

    # Threads.

    def gettid(self):
        return self.thread.number

    def set_tid_address(self, address):
        self.thread.clears = address
        return self.thread.number

    def clone(self, flags, stack, parent_number, child_number, storage):
        sets_parent_number, clears_child_number, sets_storage = 0x100000, 0x200000, 0x80000
        self.last_number += 1
        child = Thread(self.last_number, child_number if flags & clears_child_number else 0)
        if flags & sets_parent_number:
            self.memory.put(parent_number, struct.pack("<I", child.number))
        give(self.thread.state, child.number)
        # The only way to copy a state: the processor's is always a copy.
        self.session.cpu.state = self.thread.state
        child.state = self.session.cpu.state
        child.state.rax, child.state.rsp = 0, stack
        if flags & sets_storage:
            child.state.fs = data_segment(storage)
        self.threads.append(child)

    def sched_yield(self):
        give(self.thread.state, 0)
        self.turn(self.others() + [self.thread])

    def exit(self, _):
        ended = self.thread
        if ended.clears:
            self.memory.put(ended.clears, bytes(4))
            self.wake(ended.clears, 1)
        self.turn(self.others())
        self.threads.remove(ended)

    def futex(self, address, operation, value, limit):
        operation &= 0x7F
        if operation in (1, 10):
            return self.wake(address, value)
        if operation not in (0, 9):
            return -errno.ENOSYS
        if self.memory.number(address) != value & 0xFFFFFFFF:
            return -errno.EAGAIN
        self.thread.waits_at, self.thread.has_limit = address, limit != 0
        self.turn(self.others() + [self.thread])

    def wake(self, address, most):
        woken = [thread for thread in self.threads if thread.waits_at == address][:most]
        for thread in woken:
            thread.waits_at = None
            give(thread.state, 0)
        return len(woken)

    def others(self):
        """The other threads, the one that has waited longest for its turn first."""
        at = self.threads.index(self.thread)
        return self.threads[at + 1 :] + self.threads[:at]

    def turn(self, candidates):
        """Goes on with the first that does not wait; where all do, with the first whose time is limited: it is over then."""
        ready = [thread for thread in candidates if thread.waits_at is None]
        limited = [thread for thread in candidates if thread.waits_at is not None and thread.has_limit]
        if not ready and not limited:
            give_up("every thread waits for another")
        self.thread = (ready or limited)[0]
        if not ready:
            self.thread.waits_at = None
            give(self.thread.state, -errno.ETIMEDOUT)


def give(state, result):
    """The result of a call, behind which the thread goes on."""
    state.rax, state.rip, state.rflags = result & ALL_ONES, state.rcx, state.r11


mmap_fixed = 0x10

CALLS = {
    0: Process.read, 1: Process.write, 3: Process.close, 7: Process.nothing, 9: Process.mmap, 10: Process.nothing,
    11: Process.nothing, 12: Process.brk, 13: Process.nothing, 14: Process.nothing, 20: Process.writev, 24: Process.sched_yield,
    25: Process.mremap, 28: Process.nothing, 56: Process.clone, 60: Process.exit, 72: Process.fcntl, 131: Process.nothing,
    158: Process.arch_prctl, 186: Process.gettid, 202: Process.futex, 204: Process.sched_getaffinity,
    218: Process.set_tid_address, 228: Process.clock_gettime, 231: Process.exit_group, 234: Process.tgkill,
    257: Process.openat, 273: Process.nothing, 302: Process.prlimit64, 318: Process.getrandom,
}  # fmt: skip


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in PROCESSORS:
        sys.exit(f"usage: emulate_x86_64.py {{{','.join(PROCESSORS)}}} PROGRAM [ARGUMENT...]")
    choose_processor(sys.argv[1])
    Process(sys.argv[2], sys.argv[3:]).run()


main()
