# ax-id: AX-own-231-readonly-binds
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: view
# ax-source: writing where the view is for reading only, and beside it
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os, sysconfig
places = {os.path.dirname(os.__file__), sysconfig.get_path('purelib'), '/usr/lib', '/lib', '/etc', '/', '/tmp', '/var/tmp', '/dev',
          '/dev/shm', '/proc', '/run', '/home', '/root', '/usr/local/lib'}
for place in places:
    for make in (
        lambda path: open(path, 'w').close(),
        os.mkdir,
        os.mkfifo,
        lambda path: os.symlink('/', path),
        lambda path: os.rename('mine', path),
        lambda path: os.link('mine', path),
        lambda path: os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR),
    ):
        open('mine', 'w').close()
        try:
            make(f'{place}/ax-own-231-{HOST_PID}')
            print('AX-ESCAPED made something in', place)
        except OSError:
            pass
for path in (os.__file__, '/etc/ld.so.cache', '/etc/passwd', os.path.realpath('/proc/self/exe')):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        try:
            os.open(path, flags)
            print('AX-ESCAPED opened', path, flags)
        except OSError:
            pass
    for change in (os.unlink, lambda path: os.rename(path, 'taken'), lambda path: os.truncate(path, 0)):
        try:
            change(path)
            print('AX-ESCAPED changed', path)
        except OSError:
            pass
