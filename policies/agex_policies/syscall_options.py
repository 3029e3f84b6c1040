"""System calls beyond the standard list: those that a policy may open, by group; those that none can; and those that none
can take away.

An optional group weakens something, or there would be no option; its reason says whom it serves and what is given up. None
of them breaks a promise.
"""

from __future__ import annotations

from dataclasses import dataclass

from agex_policies.syscall_rules import Argument, Group, allow, own_process

PRIORITIES = Group(
    "priorities",
    "For OpenMP, MKL and programs that call nice(): a worker pins itself to processors and lowers its own priority. Given up:"
    " it can crowd the processors that it chooses; raising a priority stays shut by its limits.",
    (
        *own_process("sched_setaffinity", or_zero=True),
        # PRIO_PROCESS, and 0 for the caller.
        allow("setpriority getpriority", Argument(0, 0), Argument(1, 0)),
    ),
)

NUMA = Group(
    "numa",
    "For libnuma below torch, TBB and databases: on which memory node pages of its own shall lie. Given up: a worker can fill"
    " one node, and reaches code of the kernel that few programs exercise.",
    (allow("get_mempolicy set_mempolicy mbind set_mempolicy_home_node"),),
)

TIMERS = Group(
    "timers",
    "For event loops and native runtimes: timers as descriptors. Given up: each takes memory of the kernel, up to the limit on"
    " descriptors.",
    (allow("timerfd_create timerfd_settime timerfd_gettime"),),
)

QUEUED_SIGNALS = Group(
    "queued-signals",
    "For runtimes that send themselves signals with a value, or read them from a descriptor. Given up: little; a signal still"
    " reaches this process only.",
    (allow("signalfd signalfd4"), *own_process("rt_sigqueueinfo rt_tgsigqueueinfo", or_zero=False)),
)

SENDFILE = Group(
    "sendfile",
    "For servers and copying that will not do without it. Given up: it moves pages of files into pipes, which past faults of"
    " the kernel turned into writing to files that can only be read.",
    (allow("sendfile"),),
)

# PROT_WRITE and PROT_EXEC, and the bits of mmap's flags that memory private to the process must have and lack.
_BOTH = 0x2 | 0x4
_PRIVATE = (Argument(3, 0x22, 0xF | 0x20 | 0x100 | 0x4_0000),)

EXECUTABLE_MEMORY = Group(
    "executable-memory",
    "For compilers at run time that write code where it runs. Given up: the hurdle that bytes of an exploited library cannot"
    " become code in one step.",
    (allow("mmap", Argument(2, _BOTH, _BOTH), *_PRIVATE), allow("mprotect", Argument(2, _BOTH, _BOTH))),
)

PROTECTION_KEYS = Group(
    "protection-keys",
    "For runtimes that fence off parts of their own memory, such as those of WebAssembly. Given up: nothing of a promise;"
    " memory writable and executable at once stays refused.",
    (
        allow("pkey_alloc pkey_free"),
        *(allow("pkey_mprotect", Argument(2, protection, _BOTH)) for protection in (0x0, 0x2, 0x4)),
    ),
)

OPTIONAL = (PRIORITIES, NUMA, TIMERS, QUEUED_SIGNALS, SENDFILE, EXECUTABLE_MEMORY, PROTECTION_KEYS)


@dataclass(frozen=True, slots=True)
class Promised:
    """Calls that no policy can open, the promise that they would break, and how. "lockdown": they would undo the layers."""

    promise: str
    reason: str
    names: tuple[str, ...]


def _never(promise: str, reason: str, names: str) -> Promised:
    return Promised(promise, reason, tuple(names.split()))


NEVER = (
    _never(
        "network",
        "it reaches others through a socket; addresses are granted under [network] allow, and the supervisor connects to them",
        "socket connect bind listen accept accept4 setsockopt sendmsg sendmmsg recvmmsg",
    ),
    _never("programs", "it starts a program", "execve execveat uselib"),
    _never(
        "processes",
        "it makes, awaits or regroups processes; a worker is one process with threads",
        "fork vfork clone3 wait4 waitid setpgid setsid pidfd_open",
    ),
    _never("signals", "it can signal a process of its choice", "tkill pidfd_send_signal"),
    _never(
        "leftovers",
        "its timer can send SIGCONT, and so wake a worker that was stopped between two actions",
        "timer_create timer_settime timer_gettime timer_getoverrun timer_delete",
    ),
    _never(
        "introspection",
        "it looks into, or acts on, the memory or descriptors of a process of its choice",
        "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp perf_event_open"
        " move_pages migrate_pages syslog bpf userfaultfd lookup_dcookie",
    ),
    _never(
        "files.metadata",
        "it tells or changes what Landlock does not decide about: modes, owners, times, attributes, activity, folders by path",
        "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat"
        " setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"
        " removexattr lremovexattr fremovexattr inotify_init inotify_init1 inotify_add_watch inotify_rm_watch"
        " fanotify_init fanotify_mark mincore cachestat name_to_handle_at chdir statmount listmount quotactl",
    ),
    _never(
        "files.write",
        "it gives files other names or places, past Landlock",
        "link linkat mknod mknodat open_by_handle_at chroot pivot_root mount umount2 move_mount open_tree mount_setattr"
        " fsopen fsmount fsconfig fspick swapon swapoff acct openat2",
    ),
    _never(
        "memory",
        "it takes memory that no limit counts, or keeps it from being taken back",
        "memfd_create memfd_secret shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl"
        " mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr remap_file_pages mlock mlock2 mlockall"
        " munlock munlockall splice tee vmsplice io_setup io_submit io_getevents io_pgetevents io_cancel io_destroy",
    ),
    _never(
        "lockdown",
        "it could loosen, or run calls past, the layers themselves; or it rules the machine",
        "seccomp io_uring_setup io_uring_enter io_uring_register unshare setns capset setuid setgid setreuid setregid"
        " setresuid setresgid setfsuid setfsgid setgroups setrlimit personality keyctl add_key request_key"
        " landlock_create_ruleset landlock_add_rule landlock_restrict_self modify_ldt iopl ioperm init_module"
        " finit_module delete_module kexec_load kexec_file_load reboot sethostname setdomainname settimeofday"
        " clock_settime clock_adjtime adjtimex vhangup sched_setscheduler sched_setparam sched_setattr ioprio_set",
    ),
)

# Without any of these no worker starts, serves its channel, imports a module, goes on after a pause, or ends.
ESSENTIAL: frozenset[str] = frozenset(
    (
        "brk mmap munmap mremap mprotect madvise futex exit exit_group restart_syscall"
        " rt_sigaction rt_sigprocmask rt_sigreturn kill tgkill getpid gettid uname getrandom clock_gettime"
        " read write close lseek fcntl ioctl sendto recvfrom recvmsg"
        " openat fstat newfstatat stat getdents64 getcwd fchdir"
    ).split()
)
