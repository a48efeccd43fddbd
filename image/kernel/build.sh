#!/usr/bin/env bash
# npm run image:kernel - builds the zone's own kernel from Debian's kernel source and zone.config into .cache/kernel/HASH and
# points .cache/kernel/zone at it. HASH is of all that decides over the result; nothing is done when it is there already.
set -euo pipefail
umask 022
export LC_ALL=C

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd -- "$here/../.." && pwd)/.cache/kernel

say() { printf 'kernel: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# What compiling takes, as "COMMAND OR FILE=DEBIAN PACKAGE".
missing=()
for need in gcc=gcc make=make bc=bc bison=bison flex=flex xz=xz-utils strip=binutils /usr/include/gelf.h=libelf-dev; do
  thing=${need%=*}
  [[ -e $thing ]] || command -v "$thing" >/dev/null || missing+=("${need#*=}")
done
((${#missing[@]} == 0)) || fail "packages are missing: apt-get install --no-install-recommends ${missing[*]}"

# The newest long-term kernel that Debian offers for this release; a source that was downloaded before is good enough.
mkdir -p "$cache/downloads"
for package in linux-source-6.12 linux-source-6.1; do
  deb=$(find "$cache/downloads" -name "${package}_*.deb" | sort -V | tail -n 1)
  [[ -z $deb ]] || break
  if apt-cache show "$package" >/dev/null 2>&1; then
    say "fetching $package"
    # Elsewhere first: apt leaves a part behind when it is interrupted.
    partial=$(mktemp -d "$cache/fetching.XXXXXX")
    trap 'rm -rf -- "$partial"' EXIT
    (cd "$partial" && apt-get --quiet --option APT::Sandbox::User=root download "$package" >&2)
    mv -t "$cache/downloads" "$partial"/*.deb
    deb=$(find "$cache/downloads" -name "${package}_*.deb" | sort -V | tail -n 1)
    break
  fi
done
[[ -n $deb ]] || fail "apt knows neither linux-source-6.12 nor linux-source-6.1: run apt-get update and try again"
origin="$(dpkg-deb --field "$deb" Package) $(dpkg-deb --field "$deb" Version)"

hash=$({
  printf '%s\n' "$origin"
  gcc --version
  ld --version
  cat "$here/zone.config" "$here/build.sh"
} | sha256sum | cut -c 1-12)
target=$cache/$hash

if [[ ! -e $target ]]; then
  say "building $origin as $hash, in some minutes"
  work=$(mktemp -d "$cache/building.XXXXXX")
  trap 'rm -rf -- "$work" "${partial:-$work}"' EXIT
  dpkg-deb --fsys-tarfile "$deb" | tar -x -O --wildcards './usr/src/linux-source-*.tar.xz' >"$work/source.tar.xz"
  mkdir "$work/source"
  tar -x -C "$work/source" --strip-components=1 -f "$work/source.tar.xz"

  # Fixed, so that the same input gives the same kernel.
  export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=zone KBUILD_BUILD_HOST=zone KBUILD_BUILD_VERSION=1
  build=(nice -n 19 make --silent -C "$work/source" "--jobs=$(nproc)")
  "${build[@]}" KCONFIG_ALLCONFIG="$here/zone.config" allnoconfig >&2

  # Kconfig drops what it does not know or whose dependencies are unmet, without a word: say it.
  dropped=$(sed -n 's/^\(CONFIG_[A-Za-z0-9_]*=.*\)$/\1/p' "$here/zone.config" | sort |
    comm -23 - <(sed 's/^# \(CONFIG_[A-Za-z0-9_]*\) is not set$/\1=n/' "$work/source/.config" | sort) |
    { grep -v '=n$' || true; })
  [[ -z $dropped ]] || fail "this kernel does not take these lines of zone.config: ${dropped//$'\n'/ }"

  "${build[@]}" vmlinux >&2
  mkdir "$work/result"
  strip --strip-all -o "$work/result/vmlinux" "$work/source/vmlinux"
  cp "$work/source/.config" "$work/result/config"
  cp "$work/source/include/config/kernel.release" "$work/result/release"
  printf '%s\n' "$origin" >"$work/result/origin"
  mv -T "$work/result" "$target"
fi

ln -sfn "$hash" "$cache/zone.new"
mv -T "$cache/zone.new" "$cache/zone"
say "$(<"$target/release") is in $target ($(stat -c %s "$target/vmlinux") bytes); use it with: npm run image -- --kernel zone"
