"""Certificates for tests: an authority, and what it signs, by the openssl command line."""
import os
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Authority:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        self.key, self.path, self.made = directory / "ca.key", directory / "ca.crt", 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", self.key, "-out", self.path,
                "-subj", "/CN=authority of tests", "-days", "30")

    def make(self, *hosts, days=7):
        """A certificate with its private key, for these hosts: two texts."""
        self.made += 1
        base = self.directory / str(self.made)
        key, ask, cert, extensions = (base.with_suffix(suffix) for suffix in (".key", ".csr", ".crt", ".ext"))
        names = ",".join(f"DNS:{host}" for host in hosts)
        extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", key, "-out", ask, "-subj", f"/CN={self.made}")
        openssl("x509", "-req", "-in", ask, "-CA", self.path, "-CAkey", self.key, "-set_serial", 1000 + self.made, "-days", days, "-extfile", extensions,
                "-out", cert)
        return cert.read_text(), key.read_text()


def put(path, text, mode=0o600):
    """In one step, as those who renew certificates do it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f".{path.name}.new"
    new.write_text(text)
    new.chmod(mode)
    os.replace(new, path)
