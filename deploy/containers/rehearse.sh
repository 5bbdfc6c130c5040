#!/usr/bin/env bash
# Builds both container files and runs what they build, on a box without a container daemon or registry:
# every RUN and COPY in buildah's chroots, then `doctor` of both roles, a collection and a training over one folder.
#   sudo deploy/containers/rehearse.sh [FOLDER]         4 GB under FOLDER [a new one in /tmp]
# Needs root, buildah, mmdebstrap, and a Python of 3.11 to 3.13 as `python3` (or PYTHON=...). Settings:
#   BASE=IMAGE         build on this image as it is, instead of a stand-in made of Debian bookworm and this box's Python
#   TORCH_INDEX=URL    where torch comes from, as in brain.Containerfile
#   WHEELS=DIR         wheels that pip may use too, e.g. torch's CPU build; TORCH=VERSION then says which one
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-$(mktemp -d)}
mkdir -p "$work"
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay} BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$work/images" --runroot "$work/run" "$@"; }
say() { echo "== $(date -u +%H:%M:%S) $*"; }

base=$(sed -n 's/^FROM //p' deploy/containers/factory.Containerfile)
if [ -n "${BASE:-}" ]; then
  base=$BASE
elif ! buildah inspect "$base" > /dev/null 2>&1; then
  prefix=$("${PYTHON:-python3}" -c 'import sys; print(sys.base_prefix)')
  say "a stand-in for $base: Debian bookworm and $("$prefix/bin/python3" -V) of this box"
  [ -s "$work/base.tar" ] || mmdebstrap --quiet --variant=minbase --include=ca-certificates,netbase,tzdata,\
libbz2-1.0,libdb5.3,libexpat1,libffi8,libgdbm6,liblzma5,libncursesw6,libnsl2,libreadline8,libsqlite3-0,libssl3,\
libtirpc3,libuuid1,zlib1g bookworm "$work/base.tar"
  stand_in=$(buildah from scratch)
  buildah add --quiet "$stand_in" "$work/base.tar" / > /dev/null
  buildah add --quiet "$stand_in" "$prefix" /usr/local > /dev/null
  # the certificates that this box trusts, for a network with a proxy of its own
  buildah add --quiet "$stand_in" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt > /dev/null
  buildah run "$stand_in" -- sh -c 'ldconfig; ln -sf python3 /usr/local/bin/python'
  echo "torch==${TORCH:-*}" > "$work/torch.txt"
  buildah add --quiet "$stand_in" "$work/torch.txt" /etc/torch.txt > /dev/null
  buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 \
    --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt ${WHEELS:+--env PIP_FIND_LINKS=/wheels} \
    ${TORCH:+--env PIP_CONSTRAINT=/etc/torch.txt} --cmd python3 "$stand_in"
  buildah commit --quiet --rm "$stand_in" "$base" > /dev/null
fi

for role in factory brain; do
  say "build of deploy/containers/$role.Containerfile"
  buildah bud --pull-never --layers --from "$base" --file "deploy/containers/$role.Containerfile" --tag "tinyjepa-$role" \
    --build-arg TORCH_INDEX="${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" \
    ${WHEELS:+--volume "$WHEELS:/wheels:ro"} . > "$work/build-$role.log" 2>&1 \
    || { tail -30 "$work/build-$role.log" >&2; exit 1; }
done

run() { # role, arguments: as compose.yaml runs it: /data shared, the brain's view of it read-only
  local role=$1 view=rw; shift
  [ "$role" = brain ] && view=ro
  local made; made=$(buildah from --pull-never "tinyjepa-$role")
  say "tinyjepa-$role: $role $*"
  # /runs stays the image's own volume: of two --volume, buildah's chroots forget the first
  buildah run --user 1000 --volume "$work/data:/data:$view" "$made" -- "$role" "$@"
  buildah rm "$made" > /dev/null
}
mkdir -p "$work/data" && chown 1000 "$work/data"
run factory doctor
run factory collect --workers 2 --frames 9000 --max-episode-steps 100 --frame-size 32 --quiet
run brain doctor --runs /runs
run brain train --follow --min-frames 1000 --follow-idle 5s --run /runs/car-racing --steps 30 --quiet
say "both images were built and did their work; logs and images: $work"
