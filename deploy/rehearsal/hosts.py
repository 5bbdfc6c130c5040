"""Hosts that are namespaces: network stack, mounts and name of their own; joined by a switch of virtual Ethernet."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

RATE = "1gbit"
PROGRAMS = ("ip", "tc", "nsenter", "unshare", "sshfs", "sshd", "ssh-keygen", "mkfs.ext4", "losetup")
NEVER_KILLED = ("sshd", "sshfs", "ssh", "sleep")


def lacking() -> str:
    """Why there can be no hosts on this box, in a few words; empty when there can."""
    if os.geteuid() != 0:
        return "it needs root"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        return f"it needs {', '.join(missing)} (Debian: apt install iproute2 util-linux sshfs openssh-server e2fsprogs)"
    if not Path("/dev/fuse").exists():
        return "it needs /dev/fuse"
    tried = subprocess.run(["unshare", "--net", "--mount", "--uts", "true"], capture_output=True)
    return "" if tried.returncode == 0 else "it may make no namespaces here"


def run(*command: str | Path, check: bool = True, timeout: float = 60) -> str:
    """Run a command to its end; its stdout. ``RuntimeError`` in one line when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _space(process: int | str, kind: str) -> str:
    """Which namespace of a kind (net, mnt, uts) a process is in."""
    return str(Path(f"/proc/{process}/ns/{kind}").readlink())


class Host:
    """A network, mount and UTS namespace, held open by a process that sleeps."""

    def __init__(self, name: str, address: str = "") -> None:
        self.name, self.address = name, address
        command = ["unshare", "--net", "--mount", "--uts", "sleep", "infinity"]
        self._holder = subprocess.Popen(command)
        self.pid = self._holder.pid
        while any(_space(self.pid, kind) == _space("self", kind) for kind in ("net", "mnt", "uts")):
            time.sleep(0.01)
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words: str | Path) -> list[str]:
        """``words`` as a command that runs in this host."""
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--uts", "--", *map(str, words)]

    def run(self, *words: str | Path, check: bool = True) -> str:
        return run(*self.command(*words), check=check)

    def processes(self) -> dict[int, str]:
        """Number and command line of every process in this host, without the one that holds it."""
        mine = _space(self.pid, "net")
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.pid:
                continue
            try:
                if _space(entry.name, "net") == mine:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = line.decode(errors="replace")
            except OSError:
                continue
        return found

    def kill(self, *, spare: Sequence[str] = ()) -> int:
        """``kill -9`` of everything that computes here: all but the mounts, and what has a word of ``spare``."""
        killed = 0
        for pid, line in self.processes().items():
            program = Path(line.split(" ")[0]).name.rstrip(":")
            if program in NEVER_KILLED or any(word in line for word in spare):
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        return killed

    def close(self) -> None:
        """End every process in it; the namespaces go with them."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait()


class Switch(Host):
    """A bridge in a namespace of its own; every port is shaped to 1 Gbit/s both ways."""

    def __init__(self) -> None:
        super().__init__("switch")
        self.run("ip", "link", "add", "br0", "type", "bridge")
        self.run("ip", "link", "set", "br0", "up")

    def plug(self, host: Host) -> None:
        """Give ``host`` an ``eth0`` with its address."""
        port = self.port(host)
        self.run("ip", "link", "add", port, "type", "veth", "peer", "name", "peer0")
        self.run("ip", "link", "set", "peer0", "netns", str(host.pid))
        host.run("ip", "link", "set", "peer0", "name", "eth0")
        host.run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", port, "master", "br0", "up")
        host.run("ip", "link", "set", "eth0", "up")
        for where, device in ((self, port), (host, "eth0")):
            shape = ["tbf", "rate", RATE, "burst", "1mb", "latency", "50ms"]
            where.run("tc", "qdisc", "add", "dev", device, "root", *shape)

    def port(self, host: Host) -> str:
        return f"p-{host.name}"[:15]

    def cut(self, host: Host) -> None:
        """As if a cable behind the switch were pulled: the host sees its link up, and no packet arrives."""
        self.run("ip", "link", "set", self.port(host), "nomaster")

    def restore(self, host: Host) -> None:
        self.run("ip", "link", "set", self.port(host), "master", "br0")
