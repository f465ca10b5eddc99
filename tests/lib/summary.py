# SPDX-License-Identifier: Apache-2.0
"""Adds up JUnit files; prints "N passed, N failed, N skipped" and exits 1 when something failed or nothing ran."""
import sys
import xml.etree.ElementTree as ET


def main(files):
    passed = failed = skipped = 0
    bad, left = [], []
    for f in files:
        for case in ET.parse(f).getroot().iter("testcase"):
            name = f"{case.get('classname') or ''} {case.get('name')}".strip()
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
                bad.append(name)
            elif case.find("skipped") is not None:
                skipped += 1
                left.append(f"{name}: {case.find('skipped').get('message') or ''}")
            else:
                passed += 1
    print()
    for name in left:
        print("skipped:", name)
    for name in bad:
        print("failed:", name)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
