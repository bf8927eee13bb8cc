"""At the size of ImageNet inputs no manifold needs more memory than its bases and a bounded rest."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

D, K, INPUTS = 150528, 64, 2
REST = 512 * 2**20

PEAK = f"""
    import resource, sys, torch
    from dmmcheck import geometry
    from dmmcheck.manifolds import Decoder, LocalPCA

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    torch.set_num_threads(1)
    x = torch.empty(({K} + 4, {D})).normal_(generator=torch.Generator().manual_seed(0))
    if sys.argv[1] == "local-pca":
        manifold = LocalPCA(dim={K}).fit(x)
    else:
        manifold = Decoder(lambda x: x[:, :{K}], lambda z: z @ x[:{K}])
    before = peak()
    basis = manifold.tangent_basis(x[:{INPUTS}] + 0.5)
    print(peak() - before)
    assert basis.shape == ({INPUTS}, {D}, {K})
    assert geometry.orthonormal_residual(basis) < 1e-4
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from the resource module")
@pytest.mark.parametrize("manifold", ["local-pca", "decoder"])
def test_memory_beside_the_bases_is_bounded(manifold):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PEAK), manifold], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < INPUTS * D * K * 4 + REST
