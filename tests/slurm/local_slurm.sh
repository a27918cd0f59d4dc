#!/usr/bin/env bash
# A throw-away Slurm cluster on this one machine: munged, slurmctld and a slurmd for each node, real but for their size.
#
#   local_slurm.sh start DIR            a new cluster, all its files in DIR (new or empty, at most 65 characters)
#   local_slurm.sh stop DIR             ends its daemons and jobs; the logs stay in DIR/log
#   local_slurm.sh env DIR              prints what a shell evaluates to talk to this cluster only
#   local_slurm.sh fail-node DIR NODE   a power cut: the node's daemons and jobs are gone at once
#   local_slurm.sh start-node DIR NODE  brings it back
#
# Environment: LOCAL_SLURM_NODES (default 3: n1, n2, n3). Where it may (root with CAP_NET_ADMIN), each node gets a
# network and a host name of its own, as on a cluster: localhost is another machine on each, and a node's own name leads
# to 127.0.1.1, as Debian has it. Elsewhere the nodes share this host's.
#
# Exit status 77: Slurm is not installed. Needs, besides iproute2 for the networks:
#   apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

say() { echo "local_slurm: $*" >&2; }
die() { say "$1"; exit "${2:-1}"; }
[ $# -ge 2 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2; }
command=$1 dir=$(realpath -m "$2") node=${3:-}
# a Unix socket's path may have 107 bytes, and Slurm adds up to 42 of its own
[[ $dir =~ ^[A-Za-z0-9._/-]{1,65}$ ]] || die "$dir: expected at most 65 of A-Za-z0-9._/-"

tag=ls$(printf %s "$dir" | cksum | cut -d ' ' -f 1)  # of this cluster: its name and those of its networks
conf=$dir/etc/slurm.conf
export SLURM_CONF=$conf
user=$(id -un)
host=$(uname -n)
host=${host%%.*}

# ---- networks: a bridge, and for each node a namespace with a virtual cable to it

subnet=10.197.$((${tag#ls} % 250 + 1))
bridge=b$tag
bridge=${bridge:0:12}
node_names() { seq -f 'n%g' "$(cat "$dir/nodes")"; }
separate() { [ -e "$dir/separate" ]; }

host_addresses() { node_names | awk -v subnet="$subnet" '{ print subnet "." NR, $1 }'; }

may_separate() {
  if ip link add "$bridge" type bridge && ip netns add "${tag}n1"; then return; fi
  disconnect_nodes
  return 1
} 2>>"$dir/log/start.log"

connect_nodes() {
  local name number=0
  touch "$dir/separate"
  ip address add "$subnet.254/24" dev "$bridge"
  ip link set "$bridge" up
  for name in $(node_names); do
    number=$((number + 1))
    if [ "$number" -gt 1 ]; then ip netns add "$tag$name"; fi
    ip link add "$bridge.$name" type veth peer name eth0 netns "$tag$name"
    ip link set "$bridge.$name" master "$bridge" up
    ip -n "$tag$name" link set lo up
    ip -n "$tag$name" address add "$subnet.$number/24" dev eth0
    ip -n "$tag$name" link set eth0 up
    { printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name"; host_addresses; } >"$dir/etc/hosts.$name"
  done
}

disconnect_nodes() {
  local name
  for name in $(node_names); do
    ip link delete "$bridge.$name" || true
    ip netns delete "$tag$name" || true
  done
  ip link delete "$bridge" || true
} 2>/dev/null

# ---- configuration

free_ports() {  # the first of $1 consecutive free ports, below those the kernel gives away and those of the trainings
  local port each taken deadline=$((SECONDS + 10))
  taken=$(awk '$4 == "0A" { print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null || true)
  while [ $SECONDS -lt $deadline ]; do
    port=$((10000 + RANDOM % 9000))
    for each in $(seq "$port" $((port + $1 - 1))); do
      if grep -q ":$(printf %04X "$each")" <<<"$taken"; then continue 2; fi
    done
    echo "$port"
    return
  done
  die "no free ports"
}

write_configuration() {
  local nodes port controller=127.0.0.1 addresses=127.0.0.1 hostnames="NodeHostname=$host "
  nodes=$(cat "$dir/nodes")
  port=$(free_ports $((nodes + 1)))
  if separate; then controller=$subnet.254 addresses="$subnet.[1-$nodes]" hostnames=''; fi
  head -c 128 /dev/urandom >"$dir/etc/munge.key"
  chmod 600 "$dir/etc/munge.key"
  cat >"$conf" <<CONF
ClusterName=$tag
SlurmctldHost=$host($controller)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also how long a requeued job waits before it may start again (default 120 s; below 5 it isn't heeded)
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none
# no control groups, no binding to cores, no limits: works in any container
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
FirstJobId=$((1000 + RANDOM % 20000))
ReturnToService=2
JobRequeue=1
# a lost node is given up after 15 to 20 s (by default five minutes), a task that ignores SIGTERM killed after 3
SlurmdTimeout=6
SlurmctldTimeout=6
MessageTimeout=5
KillWait=3
TCPTimeout=2
# nodes as large as is claimed here
SlurmdParameters=config_overrides
NodeName=n[1-$nodes] ${hostnames}NodeAddr=$addresses Port=[$((port + 1))-$((port + nodes))] CPUs=64 RealMemory=2000000
# "high" pre-empts "low", whose job gets the signal of its --signal, then has GraceTime seconds
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE DefaultTime=30 State=UP
PartitionName=main Default=YES PriorityTier=5 PreemptMode=OFF
PartitionName=low PriorityTier=1 GraceTime=30
PartitionName=high PriorityTier=10 PreemptMode=OFF
CONF
  # slurmd loads a plugin for control groups although nothing here uses it
  local plugin=cgroup/v1 version
  version=$(slurmctld -V | cut -d ' ' -f 2)
  if [ "$(printf '%s\n' 24.05 "$version" | sort -V | head -n 1)" = 24.05 ]; then plugin=disabled; fi
  echo "CgroupPlugin=$plugin" >"$dir/etc/cgroup.conf"
}

# ---- daemons

daemon() { "$@" </dev/null >>"$dir/log/start.log" 2>&1; }  # holds no pipe of a caller that waits for our output

start_slurmd() {
  local inside=()
  if separate; then
    # shellcheck disable=SC2016  # expanded inside
    inside=(nsenter --net="/run/netns/$tag$1" unshare --uts --mount
      sh -c 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"' "$1" "$dir/etc/hosts.$1")
  fi
  mkdir -p "$dir/spool/$1"
  daemon "${inside[@]}" slurmd -f "$conf" -N "$1"
}

pid_of() {  # of a running daemon of this cluster, or nothing
  local pid
  pid=$(cat "$dir/run/$1.pid" 2>/dev/null) || return 0
  if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$dir/etc/"; then echo "$pid"; fi
}

job_pids() {  # the processes of this cluster's jobs, or of those on node $1, and the step daemons over them
  local file log=$dir/log/slurmd.${1:-n*}.log
  {
    grep -lzxF "SLURM_CLUSTER_NAME=$tag" /proc/[0-9]*/environ |
      if [ -n "${1:-}" ]; then xargs -r grep -lzxF "SLURMD_NODENAME=$1"; else cat; fi
    # a step daemon holds the log of its slurmd open
    grep -lx slurmstepd /proc/[0-9]*/comm | while read -r file; do
      # shellcheck disable=SC2053  # a pattern
      for open in "${file%/comm}"/fd/*; do if [[ $(readlink "$open") == $log ]]; then echo "$file"; break; fi; done
    done
  } 2>/dev/null | cut -d / -f 3 | sort -u | grep -vx "$$" || true
}

runs() { [ -n "$(tr -d '\0' <"/proc/$1/cmdline")" ]; } 2>/dev/null  # a zombie has no command line

end() {  # processes: SIGTERM, after 5 s SIGKILL
  local pid deadline=$((SECONDS + 5))
  [ $# -gt 0 ] || return 0
  kill "$@" 2>/dev/null || true
  while [ $SECONDS -lt $deadline ]; do
    for pid; do if runs "$pid"; then sleep 0.05; continue 2; fi; done
    return 0
  done
  kill -KILL "$@" 2>/dev/null || true
}

wait_until_idle() {
  local deadline=$((SECONDS + 30))
  while [ $SECONDS -lt $deadline ]; do
    if [ "$(timeout 5 sinfo -h -N -p main -o %t 2>/dev/null | sort -u)" = idle ]; then return; fi
    sleep 0.2
  done
  timeout 5 sinfo -N -p main -o '%N %t %E' >&2 || true
  return 1
}

# ---- commands

start() {
  local name
  for name in munged slurmctld slurmd srun sbatch sinfo; do
    command -v "$name" >/dev/null || die "$name is not installed (slurmctld slurmd slurm-client munge)" 77
  done
  [ -z "$(ls -A "$dir" 2>/dev/null)" ] || die "$dir: expected a new or empty folder"
  mkdir -p "$dir"/{etc,run,log,state,spool}
  chmod 755 "$dir"/{etc,run,log,state,spool}
  echo "${LOCAL_SLURM_NODES:-3}" >"$dir/nodes"
  if may_separate; then connect_nodes; fi
  write_configuration
  # --force: munged otherwise refuses a socket below a folder that others can't enter, such as pytest's
  daemon munged --force --key-file="$dir/etc/munge.key" --socket="$dir/run/munge.sock" \
    --pid-file="$dir/run/munged.pid" --log-file="$dir/log/munged.log" --seed-file="$dir/run/munged.seed"
  daemon slurmctld -f "$conf"
  for name in $(node_names); do start_slurmd "$name"; done
  if ! wait_until_idle; then
    grep -hiE 'error|fatal' "$dir"/log/*.log | tail -n 20 >&2 || true
    stop
    die "the nodes are not idle"
  fi
}

stop() {
  local pids name
  timeout 5 scancel -u "$user" 2>/dev/null || true
  mapfile -t pids < <(for name in slurmctld $(node_names | sed s/^/slurmd./); do pid_of "$name"; done)
  end "${pids[@]}"
  mapfile -t pids < <(job_pids)
  end "${pids[@]}"
  mapfile -t pids < <(pid_of munged)
  end "${pids[@]}"
  if separate; then disconnect_nodes; fi
}

fail_node() {  # none may report the others' end, so all are stopped before any is killed
  local pids
  if separate; then ip link set "$bridge.$node" down; fi
  mapfile -t pids < <(pid_of "slurmd.$node"; job_pids "$node")
  kill -STOP "${pids[@]}"
  kill -KILL "${pids[@]}"
}

case $command in
  start) start ;;
  stop) stop ;;
  env)
    # an outer Slurm's variables, or those of another cluster, would mislead
    compgen -e | grep -E '^(SLURM|SLURMD|SRUN|SBATCH|SALLOC|SQUEUE|SINFO|SCANCEL)_' | sed 's/^/unset /' || true
    echo "export SLURM_CONF=$conf" ;;
  fail-node) fail_node ;;
  start-node)
    if separate; then ip link set "$bridge.$node" up; fi
    start_slurmd "$node" ;;
  *) die "$command: unknown" 2 ;;
esac
