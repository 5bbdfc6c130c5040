"""The stage: hosts, network, shared directory, Ray, the collection and the training, as on three boxes."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from deploy.rehearsal.hosts import Host, Switch, run
from deploy.rehearsal.services import Service
from factory.collecting.job import make_job
from shared.store.dataset import create_store
from shared.store.reader import Store

ROOT = Path(__file__).parent.parent.parent
PORT = 6379
MOUNT_OPTIONS = (
    "reconnect,ServerAliveInterval=15,ServerAliveCountMax=8,dir_cache=no,cache_timeout=1,"
    "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null"
)
PACE = Path(__file__).parent / "pace"
SHARD_ROWS = 256
"""A commit every few seconds at the rehearsal's pace."""
EPISODE_STEPS = 60
FRAME_SIZE = 32
RECIPE = [
    "objective.steps=150", "objective.batch=32", "prediction.steps=100", "prediction.batch=32", "encoder.width=8",
]  # fmt: skip


AnyHost = TypeVar("AnyHost", bound=Host)


@dataclass(frozen=True)
class Size:
    """How much is collected, and how fast."""

    frames: int
    pace: float
    """Frames per second of a worker."""
    megabytes: int = 160
    """Of the shared directory."""
    short: bool = False
    """Collect without Ray, on factory-2 alone and through its mount; train the first stage only."""


class Stage:
    """Everything that runs; ``close`` takes it down again, whatever happened."""

    def __init__(self, work: Path, size: Size) -> None:
        self.work, self.size = work, size
        self.logs = work / "logs"
        self.logs.mkdir(parents=True)
        self.shared = work / "shared"
        self.store_path = self.shared / "cars"
        self.run_folder = work / "brain-disk" / "run"
        self.temporary = Path(f"/tmp/tjr-{secrets.token_hex(2)}")
        self._hosts: list[Host] = []
        self._services: list[Service] = []
        self._mounted = False
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        self._make_disk()
        self.switch = self._host(Switch())
        self.factory_1 = self._host(Host("factory-1", "10.77.0.1"))
        self.factory_2 = self._host(Host("factory-2", "10.77.0.2"))
        self.brain = self._host(Host("brain", "10.77.0.3"))
        for host in (self.factory_1, self.factory_2, self.brain):
            self.switch.plug(host)
        self._serve()
        for host in (self.factory_2, self.brain):
            self.mount(host)
        job = make_job("car-racing", None, 0, FRAME_SIZE, EPISODE_STEPS, {})
        spec = job[0].model_copy(update={"inner_rows": 64, "shard_rows": SHARD_ROWS})
        create_store(self.store_path, spec)

    def _make_disk(self) -> None:
        """An ext4 file system of its own, so that it can be filled."""
        image = self.work / "shared.ext4"
        with image.open("wb") as file:
            file.truncate(self.size.megabytes << 20)
        run("mkfs.ext4", "-q", "-m", "0", image)
        self.shared.mkdir()
        run("mount", "-o", "loop", image, self.shared)
        self._mounted = True

    def _serve(self) -> None:
        """sshd on factory-1, for the shared directory."""
        keys = self.work / "ssh"
        keys.mkdir(mode=0o700)
        Path("/run/sshd").mkdir(exist_ok=True)
        for name in ("server", "client"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name)
        (keys / "config").write_text(
            f"ListenAddress {self.factory_1.address}\nHostKey {keys / 'server'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {keys / 'client.pub'}\nPermitRootLogin prohibit-password\nStrictModes no\n"
            "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
        )
        self.service(self.factory_1, "sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(keys / "config")])
        self.wait(lambda: bool(self.factory_1.run("ss", "-Hltn", "sport = :22")), 10, "sshd")

    def mount(self, host: Host) -> None:
        """The shared directory of factory-1 on ``host``, under the same path."""
        key = self.work / "ssh" / "client"
        place = f"root@{self.factory_1.address}:{self.shared}"
        host.run("sshfs", "-o", f"{MOUNT_OPTIONS},IdentityFile={key}", place, self.shared)

    def start_ray(self) -> None:
        """The head on factory-1 and a node on factory-2, with a token."""
        home = self.work / "home" / ".ray"
        home.mkdir(parents=True)
        token = home / "auth_token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        here = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        memory = ["--object-store-memory=100000000", "--disable-usage-stats"]
        head = [*here, "--head", f"--port={PORT}", f"--node-ip-address={self.factory_1.address}", *memory]
        node = [*here, f"--address={self.address}", f"--node-ip-address={self.factory_2.address}", *memory]
        head += ["--include-dashboard=false", f"--temp-dir={self.temporary}"]
        self.head = self.service(self.factory_1, "ray-head", head)
        self.wait(lambda: self._listens(self.factory_1), 60, "the Ray head")
        self.node = self.service(self.factory_2, "ray-node", node)

    def start_collecting(self) -> Service:
        arguments = self.collect_arguments(self.store_path)
        command = [sys.executable, "-m", "factory.cli", *arguments, "--json"]
        if self.size.short:
            self.collecting = self.service(self.factory_2, "collect", [*command, "--local"])
        else:
            self.collecting = self.service(self.factory_1, "collect", [*command, "--address", self.address])
        return self.collecting

    @property
    def collecting_hosts(self) -> tuple[str, ...]:
        return ("factory-2",) if self.size.short else ("factory-1", "factory-2")

    @property
    def last_file(self) -> Path:
        """What the training writes last of all."""
        return self.run_folder / ("encoder.safetensors" if self.size.short else "report.html")

    def collect_arguments(self, store: Path) -> list[str]:
        """The command of which an undisturbed run is compared."""
        return [
            "collect", "--frames", str(self.size.frames), "--frame-size", str(FRAME_SIZE),
            "--max-episode-steps", str(EPISODE_STEPS), "--store", str(store),
        ]  # fmt: skip

    def start_training(self) -> Service:
        command = [sys.executable, "-m", "brain.cli", "train", "--follow", "--store", str(self.store_path)]
        command += ["--run", str(self.run_folder), "--min-frames", "800", "--follow-idle", "240s"]
        command += ["--checkpoint-every", "5s", "--device", "cpu"]
        if self.size.short:
            command += ["--stage", "encoder"]
        for pair in RECIPE:
            command += ["--set", pair]
        self.training = self.service(self.brain, "train", command)
        return self.training

    @property
    def address(self) -> str:
        return f"{self.factory_1.address}:{PORT}"

    def service(self, host: Host, name: str, command: list[str]) -> Service:
        environment = {
            "HOME": str(self.work / "home"), "RAY_AUTH_MODE": "token", "PYTHONPATH": f"{ROOT}:{PACE}",
            "REHEARSAL_PACE": str(self.size.pace), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        service = Service(host, name, command, environment, self.logs)
        self._services.append(service)
        return service

    def commits(self) -> dict[str, int]:
        """Committed rows by stream, as the disk of factory-1 has them."""
        return {name: stream.rows for name, stream in Store(self.store_path).streams.items()}

    def steps(self) -> int:
        """Lines of the trainer's metrics, which grow as it trains."""
        metrics = self.run_folder / "metrics.jsonl"
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    def newest_metric(self) -> float:
        """Unix time of the trainer's newest metric; 0 before the first."""
        metrics = self.run_folder / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        try:
            return float(json.loads(lines[-1])["time"]) if lines else 0.0
        except ValueError:
            return 0.0

    def wait(self, until: Callable[[], bool], seconds: float, what: str) -> float:
        """Seconds until it is so. Raises ``TimeoutError`` naming ``what`` was waited for."""
        started = time.monotonic()
        while not until():
            if time.monotonic() - started > seconds:
                raise TimeoutError(f"{what} did not come within {seconds:.0f} s: see {self.logs}")
            time.sleep(0.2)
        return time.monotonic() - started

    def close(self) -> None:
        for service in reversed(self._services):
            service._wanted = False
        for host in reversed(self._hosts):
            host.close()
        for service in self._services:
            service.stop()
        if self._mounted:
            run("umount", "-l", self.shared, check=False)
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _listens(self, host: Host) -> bool:
        return bool(host.run("ss", "-Hltn", f"sport = :{PORT}"))

    def _host(self, host: AnyHost) -> AnyHost:
        self._hosts.append(host)
        return host
