"""The system calls a worker may make, as data: named groups with a reason each. What is not here is refused with EPERM.

An allow-list, because the kernel grows calls faster than anybody can forbid them. A call whose danger lies behind a pointer
(a path, a struct) is here only where Landlock decides about it. What a policy may add is in `syscall_options.py`.
"""

from __future__ import annotations

import errno

from agex_policies.syscall_rules import (
    ALL_64,
    LOW_32,
    O_DIRECT,
    Action,
    Argument,
    Errno,
    Group,
    allow,
    allow_values,
    own_process,
    rule,
)
from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER

# PROT_WRITE or PROT_EXEC or neither.
_WRITE_OR_EXECUTE = 0x2 | 0x4
_PROTECTIONS = (0x0, 0x2, 0x4)
# MAP_TYPE, MAP_ANONYMOUS, MAP_GROWSDOWN, MAP_HUGETLB.
_KIND_OF_MAPPING = 0xF | 0x20 | 0x100 | 0x4_0000
# A file shared, a file private, nothing but memory private. Shared memory without a file stays whole while one page of it is
# mapped, and only what is mapped counts for RLIMIT_AS.
_MAPPINGS = (0x1, 0x2, 0x22)

MEMORY = Group(
    "memory",
    "Allocators and loaded libraries. Memory writable and executable at once is refused; that is a hurdle, no wall, for"
    " it can be had in two steps. Shared memory without a file is refused, because no limit would count it. Huge-page pools"
    " and stacks that grow by themselves serve nobody here.",
    (
        allow("brk munmap mremap"),
        *(
            allow("mmap", Argument(2, protection, _WRITE_OR_EXECUTE), Argument(3, mapping, _KIND_OF_MAPPING))
            for protection in _PROTECTIONS
            for mapping in _MAPPINGS
        ),
        *(allow("mprotect", Argument(2, protection, _WRITE_OR_EXECUTE)) for protection in _PROTECTIONS),
        # NORMAL RANDOM SEQUENTIAL WILLNEED DONTNEED FREE DONTFORK DOFORK HUGEPAGE NOHUGEPAGE DONTDUMP DODUMP COLD
        # PAGEOUT POPULATE_READ POPULATE_WRITE, and GUARD_INSTALL GUARD_REMOVE (stacks, glibc 2.42). Not REMOVE (9), which
        # punches holes into files shared with a reader, nor MERGEABLE (12), which tells who else has the same page.
        *allow_values("madvise", 2, (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 20, 21, 22, 23, 102, 103)),
    ),
)

THREADS = Group(
    "threads",
    "Threads of this process. clone takes exactly the flags with which glibc and musl start a thread, so it can make"
    " neither a process nor a namespace; clone3 hides its flags behind a pointer, and ENOSYS sends glibc back to clone.",
    (
        allow("futex set_robust_list rseq set_tid_address arch_prctl gettid sched_yield"),
        allow("sched_get_priority_max sched_get_priority_min getcpu membarrier exit exit_group"),
        *allow_values("clone", 0, (0x3D_0F00, 0x7D_0F00)),
        rule(Errno(errno.ENOSYS), "clone3"),
        *own_process("get_robust_list sched_getaffinity sched_getparam sched_getscheduler", or_zero=True),
    ),
)

# SIGCONT is 18, binary 10010: another number differs from it in one of these bits.
_NOT_SIGCONT = ((1, 1), (0, 2), (4, 4), (8, 8), (0, 16), (32, 32), (64, 64))

SIGNALS = Group(
    "signals",
    "Handlers, timers and signals to this process alone: its number is put into the filter when the worker starts. Not"
    " SIGCONT: threads that send it again and again take back the stop by which the supervisor holds a worker still while"
    " nobody watches it.",
    (
        allow("rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack"),
        allow("restart_syscall setitimer getitimer alarm pause"),
        *(
            allow(call, Argument(0, SECCOMP_PID_PLACEHOLDER), Argument(signal, value, bit))
            for call, signal in (("kill", 1), ("tgkill", 2))
            for value, bit in _NOT_SIGCONT
        ),
    ),
)

_CLOCK_CALLS = "clock_gettime clock_getres clock_nanosleep"
# A negative clock is the processor time of a process, by its number, or of a thread, which the kernel holds to one's own.
_OF_A_PROCESS, _OF_A_THREAD = 0x8000_0000, 0x4
_OF_THIS_PROCESS = 0xFFFF_FFFA

CLOCKS = Group(
    "clocks",
    "Reading clocks and sleeping. Setting them is not among it, nor is the clock of another process, which would tell that it"
    " exists and how busy it is.",
    (
        allow("nanosleep gettimeofday time times"),
        allow(_CLOCK_CALLS, Argument(0, 0, _OF_A_PROCESS)),
        allow(_CLOCK_CALLS, Argument(0, _OF_A_PROCESS | _OF_A_THREAD, _OF_A_PROCESS | _OF_A_THREAD)),
        allow(_CLOCK_CALLS, Argument(0, _OF_THIS_PROCESS)),
    ),
)

IDENTITY = Group(
    "identity",
    "Who and where am I. Calls that can ask about another process are held to this one, or they would tell which exist.",
    (
        allow("getpid getppid getuid geteuid getgid getegid getgroups getresuid getresgid getpgrp uname sysinfo"),
        allow("getrusage getrlimit umask getcwd getrandom"),
        *own_process("getpgid getsid", or_zero=True),
        # Read one's own limits: a new limit would have to be given by the third argument.
        allow("prlimit64", Argument(0, 0), Argument(2, 0, ALL_64)),
        # SET_NAME GET_NAME GET_DUMPABLE and SET_VMA, which names pieces of memory
        *allow_values("prctl", 0, (15, 16, 3, 0x5356_4D41)),
    ),
)

DESCRIPTORS = Group(
    "descriptors",
    "Reading, writing and waiting on what is open. No memfd_create, splice, tee or vmsplice: memory that no limit counts"
    " and a famous source of kernel faults; sendfile is splice by another name, and shutil does without it.",
    (
        allow("read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3"),
        allow("poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait pipe pipe2"),
        allow("eventfd2 copy_file_range ftruncate"),
        # It would fill the disk faster than a watch can look; other modes punch holes into files that somebody else has
        # mapped. glibc's posix_fallocate writes instead.
        rule(Errno(errno.EOPNOTSUPP), "fallocate"),
        # DUPFD GETFD SETFD GETFL GETLK DUPFD_CLOEXEC. Not SETOWN and SETSIG, which make the kernel send signals to a process
        # of one's choice, nor SETLEASE, NOTIFY, SETPIPE_SZ and seals. GETLK must give its true answer, "nobody has a lock":
        # sqlite reads it from the struct.
        *allow_values("fcntl", 1, (0, 1, 2, 3, 5, 1030)),
        allow("fcntl", Argument(1, 4), Argument(2, 0, O_DIRECT)),  # SETFL
        # FIONREAD FIOCLEX FIONCLEX FIONBIO TCGETS TIOCGWINSZ; TIOCSTI would type into a terminal.
        *allow_values("ioctl", 1, (0x541B, 0x5451, 0x5450, 0x5421, 0x5401, 0x5413)),
        # FICLONE: pathlib of Python 3.14 copies in another way if told so, and fails if refused.
        rule(Errno(errno.EOPNOTSUPP), "ioctl", Argument(1, 0x4004_9409)),
        # An advisory lock among processes has no meaning for one that shares its files with none; sqlite and fsspec ask.
        # Each SETLK or SETLKW could cost the kernel memory that no limit counts.
        rule(Errno(0), "flock"),
        *(rule(Errno(0), "fcntl", Argument(1, command)) for command in (6, 7)),
    ),
)

DURABILITY = Group(
    "durability",
    "Nothing of a workspace has to survive a power cut, and a process cannot be killed while the kernel writes its files out:"
    " it would outlive its deadline. So waiting for the disk succeeds at once. Advice about files is not taken, for one of"
    " its kinds writes them out too.",
    (rule(Errno(0), "fsync fdatasync sync_file_range sync syncfs msync fadvise64"),),
)

# A descriptor for any directory, which Landlock does not ask about and fchdir would follow.
_O_PATH = 0x20_0000
# A file that no watch can see. tempfile and libffi (callbacks of ctypes) take a name if told that it is not supported.
_O_TMPFILE = 0x40_0000
# Each write waits for the disk.
_O_SYNC = 0x10_0000 | 0x1000
# A file made so runs as its owner for whoever starts it: in a folder of the host, that is the supervisor's user, or root.
# Only where a file can be made: else the kernel reads no mode, and callers below libc leave in its place what was there.
_SETS_ID = 0o6000
_O_CREAT = 0x40
_NO_FLAGS_OF = _O_PATH | _O_TMPFILE | _O_SYNC | O_DIRECT

FILES = Group(
    "files",
    "Opening, listing and changing files: Landlock decides which. Not here is what Landlock does not decide about: links to"
    " others' files, modes, owners, times, attributes, device nodes, watches, and chdir by path; fchdir follows a directory"
    " that could be opened. openat2 hides its flags behind a pointer; ENOSYS makes callers use openat.",
    (
        allow("open", Argument(1, 0, _NO_FLAGS_OF | _O_CREAT)),
        allow("openat", Argument(2, 0, _NO_FLAGS_OF | _O_CREAT)),
        allow("open", Argument(1, _O_CREAT, _NO_FLAGS_OF | _O_CREAT), Argument(2, 0, _SETS_ID)),
        allow("openat", Argument(2, _O_CREAT, _NO_FLAGS_OF | _O_CREAT), Argument(3, 0, _SETS_ID)),
        allow("creat", Argument(1, 0, _SETS_ID)),
        rule(Errno(errno.EOPNOTSUPP), "open", Argument(1, _O_TMPFILE, _O_TMPFILE)),
        rule(Errno(errno.EOPNOTSUPP), "openat", Argument(2, _O_TMPFILE, _O_TMPFILE)),
        rule(Errno(errno.ENOSYS), "openat2"),
        allow("stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat"),
        allow("getdents getdents64 statfs fstatfs fchdir truncate"),
        allow("mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 symlink symlinkat"),
        # glibc falls back to fchmodat, which is refused; EPERM would not let it tell a refusal from an old kernel.
        rule(Errno(errno.ENOSYS), "fchmodat2"),
        # "This file system has no attributes": what shutil takes for an answer when it copies a file.
        rule(Errno(errno.EOPNOTSUPP), "listxattr llistxattr flistxattr"),
    ),
)

# MSG_DONTWAIT and MSG_NOSIGNAL: what is left when all other flags must be 0.
_PLAIN_SEND = LOW_32 & ~(0x40 | 0x4000)
_MSG_OOB = 0x1
# SOCK_NONBLOCK and SOCK_CLOEXEC may be added to a socket's type.
_SOCKET_TYPE = LOW_32 & ~(0x800 | 0x8_0000)

CHANNELS = Group(
    "channels",
    "The channel to the supervisor, and the pair of sockets by which asyncio wakes itself. No socket can be made that"
    " reaches anything else. Sending takes no address, no fast open and no out-of-band byte (a past kernel escape);"
    " sendmsg is left out altogether, so no descriptor can be sent. getsockopt reads TYPE, ERROR, PROTOCOL and DOMAIN:"
    " others would give the peer's process id and a descriptor for it.",
    (
        allow("socketpair", Argument(0, 1), Argument(1, 1, _SOCKET_TYPE), Argument(2, 0)),
        allow("sendto", Argument(3, 0, _PLAIN_SEND), Argument(4, 0, ALL_64)),
        allow("recvfrom", Argument(3, 0, _MSG_OOB)),
        allow("recvmsg", Argument(2, 0, _MSG_OOB)),
        allow("shutdown getsockname getpeername"),
        *(allow("getsockopt", Argument(1, 1), Argument(2, option)) for option in (3, 4, 38, 39)),
    ),
)

ABSENT = Group(
    "absent",
    "Calls that libraries probe for: told that this kernel lacks them, they take an older way.",
    (rule(Errno(errno.ENOSYS), "io_uring_setup io_uring_enter io_uring_register pidfd_open epoll_pwait2"),),
)

DEADLY = Group(
    "deadly",
    "No library calls these by accident; one attempt is an attack, and ends the process.",
    (
        rule(
            Action.KILL,
            "ptrace process_vm_readv process_vm_writev bpf perf_event_open userfaultfd mount umount2 move_mount"
            " open_tree fsopen fsmount fsconfig fspick mount_setattr pivot_root chroot setns unshare init_module"
            " finit_module delete_module kexec_load kexec_file_load keyctl add_key request_key reboot swapon swapoff"
            " open_by_handle_at acct settimeofday clock_settime adjtimex iopl ioperm modify_ldt quotactl",
        ),
    ),
)

STANDARD = (MEMORY, THREADS, SIGNALS, CLOCKS, IDENTITY, DESCRIPTORS, DURABILITY, FILES, CHANNELS, ABSENT, DEADLY)
