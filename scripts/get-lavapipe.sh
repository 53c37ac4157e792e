#!/bin/sh
# Puts a Vulkan driver that computes on the CPU (Mesa's lavapipe) and a Vulkan loader into DIR. Installs nothing and needs no root.
# For Debian 12 on x64, whose own Mesa 22.3 is too old for Dawn: the packages come from its backports. Later releases have a newer
# Mesa: use `apt install mesa-vulkan-drivers` there instead of this script.
#
#   scripts/get-lavapipe.sh build/lavapipe
#   . build/lavapipe/env.sh
set -eu

MESA=25.0.7
PACKAGES="libvulkan1 libllvm15 libelf1 libexpat1 libwayland-client0 libx11-xcb1 libx11-6 libxau6 libxdmcp6 libbsd0 libmd0 libffi8 libedit2 libz3-4
  libtinfo6 libxml2 libicu72 liblzma5 libxcb1 libxcb-dri3-0 libxcb-present0 libxcb-randr0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxshmfence1
  libzstd1 zlib1g"
BACKPORTS="mesa-vulkan-drivers libdrm2 libdrm-amdgpu1"
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

[ $# = 1 ] || { echo "usage: $0 DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ -e "$dir/env.sh" ] && exit 0

if ! grep -q "^VERSION_CODENAME=bookworm" /etc/os-release || [ "$(dpkg --print-architecture)" != amd64 ]; then
  echo "this is not Debian 12 on x64: install Mesa's Vulkan drivers $MESA or later by the system's means" >&2
  exit 1
fi

# Use the same Debian mirror as this machine.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null | grep -v '^#' |
  grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ')
[ -n "$mirror" ] || { echo "no Debian mirror in /etc/apt" >&2; exit 1; }

apt=$dir/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs" "$dir/root"
for suite in bookworm bookworm-updates bookworm-backports; do echo "deb [signed-by=$KEYS] $mirror $suite main"; done >"$apt/sources.list"
options="-qq -oDir::State::Lists=$apt/lists -oDir::Cache=$apt/cache -oDir::Etc::SourceList=$apt/sources.list -oDir::Etc::SourceParts=/dev/null
  -oAPT::Sandbox::User= -oAcquire::Retries=3"
# shellcheck disable=SC2086 # lists of words
{
  apt-get $options update
  cd "$apt/debs"
  apt-get $options download $PACKAGES
  for package in $BACKPORTS; do apt-get $options download "$package/bookworm-backports"; done
}
for file in *.deb; do dpkg -x "$file" "$dir/root"; done

libraries=$dir/root/usr/lib/x86_64-linux-gnu
# The package has drivers for all kinds of hardware.
find "$libraries" -name 'libvulkan_*' ! -name libvulkan_lvp.so -delete
printf '{"file_format_version":"1.0.0","ICD":{"api_version":"1.4.305","library_path":"%s/libvulkan_lvp.so"}}\n' "$libraries" >"$dir/driver.json"
rm -rf "$apt"
# Written last: its presence means that the rest is complete.
cat >"$dir/env.sh" <<ENV
export VK_DRIVER_FILES=$dir/driver.json
export LD_LIBRARY_PATH=$libraries:$dir/root/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export XDG_RUNTIME_DIR=\${XDG_RUNTIME_DIR:-/tmp}
ENV
