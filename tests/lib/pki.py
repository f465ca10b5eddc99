# SPDX-License-Identifier: Apache-2.0
"""Certificates made with openssl: of the mesh's own CA, and of strangers."""
import os
import subprocess


def _openssl(*args, **kwargs):
    subprocess.run(["openssl", *map(str, args)], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


class Authority:
    def __init__(self, crt, key):
        self.crt, self.key = str(crt), str(key)

    @classmethod
    def make(cls, folder, name="stranger"):
        os.makedirs(folder, exist_ok=True)
        crt, key = os.path.join(folder, f"{name}-ca.crt"), os.path.join(folder, f"{name}-ca.key")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                 f"/O={name}", "-keyout", key, "-out", crt, "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
                 "keyUsage=critical,keyCertSign,cRLSign")
        return cls(crt, key)

    def leaf(self, folder, uris, name="leaf", days=1, usage="serverAuth,clientAuth", ca=False, dns=()):
        """(crt, key) paths of a leaf with these URI SANs (and DNS names)."""
        os.makedirs(folder, exist_ok=True)
        crt, key, csr, ext = (os.path.join(folder, name + s) for s in (".crt", ".key", ".csr", ".ext"))
        san = ",".join(["URI:" + u for u in uris] + ["DNS:" + d for d in dns])
        with open(ext, "w") as f:
            f.write(f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}\nkeyUsage=critical,digitalSignature\n"
                    f"extendedKeyUsage={usage}\n" + (f"subjectAltName=critical,{san}\n" if san else ""))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/", "-keyout", key, "-out", csr)
        _openssl("x509", "-req", "-in", csr, "-CA", self.crt, "-CAkey", self.key, "-CAcreateserial", "-CAserial",
                 os.path.join(folder, name + ".srl"), "-days", days, "-extfile", ext, "-out", crt)
        return crt, key
