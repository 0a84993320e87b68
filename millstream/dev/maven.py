"""Jars of a service from Maven Central, fetched once with the machine's own `mvn` and its settings, and kept in the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .local_process import ServiceUnavailable

_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_FETCH_TIMEOUT_S: Final = 900
_POM: Final = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millstream.dev</groupId><artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""
_DEPENDENCY: Final = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/millstream`, by default `~/.cache/millstream`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "millstream"


def find_java(at_least: int) -> str:
    """The path of a Java runtime: `JAVA_HOME`'s, else the one in PATH.

    Raises:
        ServiceUnavailable: there is none, or it is too old.
    """
    fix = f"install a JDK {at_least} or later (Debian: apt-get install openjdk-{at_least}-jre-headless maven)"
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=Path(home) / "bin") if home else shutil.which("java")
    if java is None:
        raise ServiceUnavailable(f"there is no Java {at_least} here", fix=fix)
    banner = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', banner)
    if version is None or int(version[1]) < at_least:
        raise ServiceUnavailable(
            f"Java {at_least} is needed, this is {banner.splitlines()[0] if banner else 'silent'}",
            where=java,
            fix=fix,
        )
    return java


def jars(name: str, coordinates: Sequence[str]) -> Path:
    """The folder with these artefacts (`group:artifact:version`) and all they depend on.

    `name` identifies the set in the cache and must change with the coordinates. Safe when several processes fetch at
    the same time: the folder appears whole, and the first one stays.

    Raises:
        ServiceUnavailable: they are not cached, and Maven is missing or could not fetch them.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    mvn = shutil.which("mvn")
    if mvn is None:
        raise ServiceUnavailable(
            f"the jars of {name} are not cached and there is no mvn to fetch them",
            where=str(folder),
            fix="install Maven (Debian: apt-get install maven)",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as work:
        _fetch(mvn, name, coordinates, Path(work))
        try:
            (Path(work) / "jars").rename(folder)
        except OSError:
            if not folder.is_dir():  # anything but another process having been quicker
                raise
    return folder


def _fetch(mvn: str, name: str, coordinates: Sequence[str], work: Path) -> None:
    dependencies = "".join(_DEPENDENCY.format(*coordinate.split(":")) for coordinate in coordinates)
    (work / "pom.xml").write_text(_POM.format(name=name, dependencies=dependencies))
    command = [mvn, "-B", "-q", "-Dstyle.color=never", _PLUGIN, f"-DoutputDirectory={work / 'jars'}"]
    try:
        done = subprocess.run(
            command,
            cwd=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceUnavailable(
            f"mvn did not fetch the jars of {name} within {_FETCH_TIMEOUT_S} s",
            fix="check Maven's network settings",
        ) from error
    if done.returncode != 0:
        raise ServiceUnavailable(
            f"mvn could not fetch the jars of {name}: {done.stdout.strip()[-1500:]}",
            where=" ".join(coordinates),
            fix="check Maven's network settings (settings.xml, proxies)",
        )
