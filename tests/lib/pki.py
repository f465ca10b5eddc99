# SPDX-License-Identifier: Apache-2.0
"""Certificates made with openssl: of the mesh's own CA, and of strangers."""
import datetime
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

    def leaf(self, folder, uris, name="leaf", days=1, usage="serverAuth,clientAuth", ca=False, dns=(), subject="/"):
        """(crt, key) paths of a leaf with these URI SANs (and DNS names)."""
        os.makedirs(folder, exist_ok=True)
        crt, key, csr, ext = (os.path.join(folder, name + s) for s in (".crt", ".key", ".csr", ".ext"))
        san = ",".join(["URI:" + u for u in uris] + ["DNS:" + d for d in dns])
        with open(ext, "w") as f:
            f.write(f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}\nkeyUsage=critical,digitalSignature\n"
                    f"extendedKeyUsage={usage}\n" + (f"subjectAltName=critical,{san}\n" if san else ""))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", key, "-out", csr)
        # "openssl ca", since "openssl x509" knows no start date before OpenSSL 3.4 and newer ones take no end before the start
        db, conf = (os.path.join(folder, name + s) for s in (".db", ".conf"))
        open(db, "w").close()
        with open(conf, "w") as f:
            f.write(f"[ca]\ndefault_ca=c\n[c]\ndatabase={db}\nnew_certs_dir={folder}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\n"
                    "organizationName=optional\ncommonName=optional\n")
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
        start = min(end - datetime.timedelta(days=1), datetime.datetime.now(datetime.timezone.utc))
        _openssl("ca", "-config", conf, "-batch", "-notext", "-in", csr, "-cert", self.crt, "-keyfile", self.key, "-extfile", ext,
                 "-startdate", f"{start:%Y%m%d%H%M%SZ}", "-enddate", f"{end:%Y%m%d%H%M%SZ}", "-out", crt)
        return crt, key
