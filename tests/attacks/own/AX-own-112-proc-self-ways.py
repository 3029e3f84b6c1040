# ax-id: AX-own-112-proc-self-ways
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: /proc/self as a way to the outside: root, cwd, task, map_files, attr, mem
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for name in ('root', 'root' + SECRET_FILE, 'cwd/../../..', 'map_files', 'mem', 'mountinfo', 'cgroup'):
    try:
        with open('/proc/self/' + name, 'rb') as file:
            print('AX-PARTIAL', name, file.read(60))
    except OSError as error:
        print(error)
try:
    names = os.listdir('/proc/self/root')
    if 'etc' in names and 'home' in names and 'boot' in names:
        print('AX-ESCAPED the root of the host', names)
except OSError as error:
    print(error)
for name in ('oom_score_adj', 'setgroups', 'uid_map', 'attr/exec'):
    try:
        with open('/proc/self/' + name, 'w') as file:
            file.write('1')
        print('AX-PARTIAL wrote', name)
    except OSError as error:
        print(error)
