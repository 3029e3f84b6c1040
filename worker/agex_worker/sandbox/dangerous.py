"""What a registered module keeps back although its registration says `include="*"`: members that run code or touch files.

A member listed here is given only if `include` names it exactly (include=["*", "fromfile"]). The kernel walls do not
depend on these tables; with isolation="none" they are all there is.
"""

from __future__ import annotations


def kept_back(module: str, member: str) -> bool:
    """Whether a registration has to name this member of the module for code to have it."""
    if module in ONLY:
        return member not in ONLY[module]
    return module in EXPLICIT or module.partition(".")[0] in EXPLICIT or member in HIDDEN.get(module, ())


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules whose purpose is what the sandbox is against: nothing of them comes by default.
EXPLICIT = _words(
    """_thread ast atexit bdb builtins cffi cloudpickle code codeop compileall copyreg cProfile ctypes dbm dill dis doctest
    PIL.EpsImagePlugin PIL.ImageCms PIL.ImageFile PIL.ImageGrab PIL.ImageShow
    ensurepip faulthandler fcntl fileinput ftplib gc http imaplib imp importlib joblib linecache logging.config
    logging.handlers mailbox marshal mmap modulefinder msilib multiprocessing netrc nntplib pdb pickle pickletools pip
    pkgutil platform poplib posix profile pstats pty py_compile pyclbr pydoc readline resource rlcompleter runpy select
    selectors setuptools shelve shutil signal site smtplib socket socketserver sqlite3 ssl subprocess symtable sysconfig
    syslog tarfile tempfile termios test timeit tkinter trace tracemalloc tty turtle unittest urllib.request venv
    webbrowser winreg wsgiref xmlrpc zipapp zipfile zipimport"""
)

# Modules of which a part is ordinary: only that part.
ONLY: dict[str, frozenset[str]] = {
    "os": _words("sep linesep pathsep curdir pardir extsep altsep devnull getcwd cpu_count urandom fspath strerror"),
    "os.path": _words(
        "join split splitext basename dirname normpath isabs commonpath commonprefix sep extsep pardir curdir normcase"
    ),
    "sys": _words(
        "version version_info maxsize byteorder float_info int_info hash_info maxunicode getsizeof platform"
        " implementation getrecursionlimit intern exit hexversion"
    ),
    "inspect": _words(
        "signature Signature Parameter BoundArguments isclass isfunction ismethod isbuiltin isroutine isgenerator"
        " isgeneratorfunction iscoroutine iscoroutinefunction isawaitable isabstract cleandoc getdoc"
    ),
    "traceback": _words("format_exc print_exc format_exception format_exception_only print_exception"),
    "types": _words("SimpleNamespace MappingProxyType NoneType NotImplementedType EllipsisType UnionType"),
    "asyncio": _words(
        "run gather sleep wait wait_for create_task ensure_future shield timeout timeout_at as_completed TaskGroup Queue"
        " PriorityQueue LifoQueue Lock Event Condition Semaphore BoundedSemaphore Barrier Runner CancelledError"
        " TimeoutError InvalidStateError QueueEmpty QueueFull FIRST_COMPLETED FIRST_EXCEPTION ALL_COMPLETED"
        " iscoroutinefunction iscoroutine current_task all_tasks to_thread"
    ),
    "weakref": _words("ref WeakKeyDictionary WeakValueDictionary WeakSet"),
    "threading": _words(
        "Thread Lock RLock Event Condition Semaphore BoundedSemaphore Barrier Timer local current_thread active_count"
        " get_ident main_thread BrokenBarrierError"
    ),
    "logging": _words(
        "getLogger Logger DEBUG INFO WARNING WARN ERROR CRITICAL FATAL NOTSET debug info warning error exception"
        " critical log getLevelName"
    ),
    "warnings": _words("warn catch_warnings"),
    "codecs": _words("encode decode BOM_UTF8 BOM_UTF16 BOM_UTF32 BOM_UTF16_LE BOM_UTF16_BE BOM"),
    "concurrent.futures": _words(
        "ThreadPoolExecutor Future as_completed wait CancelledError TimeoutError FIRST_COMPLETED FIRST_EXCEPTION"
        " ALL_COMPLETED"
    ),
    "__future__": _words("annotations"),
}

# Single members.
HIDDEN: dict[str, frozenset[str]] = {
    "bz2": _words("open BZ2File"),
    "abc": _words("update_abstractmethods"),
    "collections": _words("UserString"),
    "contextlib": _words("redirect_stdout redirect_stderr chdir"),
    "dataclasses": _words("make_dataclass Field"),
    "enum": _words("global_enum global_enum_repr global_flag_repr global_str property"),
    "glob": _words("glob iglob glob0 glob1"),
    "gzip": _words("open GzipFile"),
    "hashlib": _words("file_digest"),
    "io": _words("FileIO open_code IOBase RawIOBase"),
    "lzma": _words("open LZMAFile"),
    "PIL.Image": _words(
        "register_open register_save register_save_all register_mime register_extension register_extensions"
        " register_decoder register_encoder"
    ),
    # Settings are the process's own, and name programs, modules and files.
    "matplotlib": _words(
        "use rc rc_context rc_file rc_file_defaults rc_params rc_params_from_file rcdefaults rcParams rcParamsDefault"
        " rcParamsOrig RcParams test"
    ),
    "matplotlib.pyplot": _words("switch_backend rc rc_context rcdefaults rcParams rcParamsDefault rcParamsOrig"),
    "mimetypes": _words("init read_mime_types"),
    "numpy": _words(
        "DataSource chararray ctypeslib deprecate f2py fromfile fromregex get_include lookfor memmap recarray seterrcall source test testing"
    ),
    "pandas": _words(
        "HDFStore ExcelFile ExcelWriter eval read_clipboard read_gbq read_hdf read_html read_iceberg read_pickle read_sas"
        " read_spss read_sql read_sql_query read_sql_table read_stata read_xml to_pickle test show_versions"
    ),
    "plotly.io": _words(
        "defaults full_figure_for_development kaleido orca read_json renderers show to_image write_html write_image"
        " write_images write_json"
    ),
    "pydantic": _words("ImportString PyObject TypeAdapter create_model parse_file_as parse_obj_as v1 BaseSettings"),
    "attr": _words("make_class resolve_types"),
    "attrs": _words("make_class resolve_types"),
    "string": _words("Formatter"),
    "time": _words("clock_settime clock_settime_ns pthread_getcpuclockid tzset"),
    "tokenize": _words("open"),
    "typing": _words("ForwardRef"),
    "uuid": _words("getnode uuid1 uuid6"),  # these ask programs for the address of a network card
    "wave": _words("open Wave_read Wave_write"),
    "xml.etree.ElementTree": _words("parse iterparse ElementTree"),
    "zoneinfo": _words("reset_tzpath"),
}

# Submodules that everybody counts as part of the module; others need a registration of their own or recursive=True.
PARTS: dict[str, frozenset[str]] = {
    "collections": _words("abc"),
    "concurrent": _words("futures"),
    "numpy": _words("random linalg fft ma polynomial char strings exceptions dtypes typing"),
    "numpy.polynomial": _words("polynomial chebyshev hermite hermite_e laguerre legendre"),
    "os": _words("path"),
    "pandas": _words("api errors tseries arrays offsets"),
    "pandas.api": _words("types indexers extensions"),
    "pandas.tseries": _words("offsets"),
}

# Members of objects, by the top-level package of the object's class: what the gate says when one is used.
_FILE = (
    "it reads or writes a file beyond the workspace; use open() and pass the file, or a to_* method with a plain path"
)
_STATE = "it reaches memory or code of the interpreter"
_TEXT = "it evaluates text or templates as code; write it as Python"
MEMBERS: dict[str, dict[str, str]] = {
    "numpy": {
        **dict.fromkeys(_words("tofile dump"), _FILE),
        **dict.fromkeys(_words("ctypes cffi capsule dumps setfield data_as"), _STATE),
    },
    "pandas": {
        **dict.fromkeys(_words("to_pickle to_hdf to_sql to_stata to_gbq to_clipboard to_orc to_xml to_iceberg"), _FILE),
        "style": _TEXT,
    },
    "pathlib": dict.fromkeys(
        _words(
            "open read_text read_bytes write_text write_bytes unlink rmdir mkdir touch rename replace iterdir glob rglob"
            " walk exists is_file is_dir is_symlink is_mount is_socket is_fifo is_block_device is_char_device stat lstat"
            " chmod lchmod symlink_to hardlink_to link_to readlink resolve expanduser home cwd owner group samefile"
            " absolute copy copy_into move move_into is_junction info"
        ),
        "it works on the whole file system; use open(), or what a pathlib.Path made in this code has: Path(path)",
    ),
    "asyncio": dict.fromkeys(
        _words(
            "subprocess_exec subprocess_shell create_connection create_server create_unix_connection create_unix_server"
            " create_datagram_endpoint connect_read_pipe connect_write_pipe run_in_executor set_default_executor"
            " add_signal_handler add_reader add_writer get_stack print_stack sock_connect getaddrinfo getnameinfo connect_accepted_socket"
        ),
        "an event loop opens sockets and starts processes",
    ),
    "matplotlib": {
        **dict.fromkeys(
            _words(
                "print_figure print_png print_jpg print_jpeg print_tif print_tiff print_webp print_gif print_pdf print_svg"
                " print_svgz print_ps print_eps print_pgf print_raw print_rgba"
            ),
            "it reads or writes a file beyond the workspace; use savefig()",
        ),
        **dict.fromkeys(_words("manager switch_backends set_usetex"), "it starts programs or imports modules"),
    },
    "PIL": {"show": "it starts a program; use view_image()"},
    "plotly": {
        **dict.fromkeys(_words("write_html write_image write_json show"), _FILE),
        **dict.fromkeys(_words("to_image full_figure_for_development"), "it starts a program"),
    },
    "logging": dict.fromkeys(_words("manager handlers root addHandler setLoggerClass"), _STATE),
    "pydantic": dict.fromkeys(_words("parse_file parse_raw model_rebuild update_forward_refs from_orm"), _TEXT),
    "xml": dict.fromkeys(_words("parse write"), _FILE),
    "configparser": dict.fromkeys(_words("read"), _FILE),
}

# Classes that nobody but Python itself should construct: type() gives a stand-in for them.
UNCONSTRUCTIBLE = frozenset(
    {
        ("_io", "FileIO"),
        ("builtins", "code"),
        ("builtins", "function"),
        ("builtins", "module"),
        ("dataclasses", "Field"),
        ("numpy", "memmap"),
        ("numpy", "ndarray"),
        ("numpy", "recarray"),
        ("numpy.rec", "recarray"),
        ("pathlib", "PosixPath"),  # code has a class of its own in its place
        ("pathlib._local", "PosixPath"),
        ("types", "SimpleNamespace"),
    }
)
