# SPDX-License-Identifier: Apache-2.0
"""Help, man pages, completion and the page of reasons say what the code says. Needs the built trammel, no root."""
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAMMEL_BUILD", TOP / "build"))
TRAMMEL = BUILD / "tools" / "trammel"
MAN = TOP / "docs" / "man"

needs_build = pytest.mark.skipif(not TRAMMEL.exists(), reason=f"{TRAMMEL} is not there: build first, or set TRAMMEL_BUILD")


def help_of(*words):
    r = subprocess.run([TRAMMEL, *words, "--help"], capture_output=True, text=True, timeout=10)
    assert r.returncode == 0 and not r.stderr, (words, r)
    return r.stdout


def section(text, head):
    return text.split(f"{head}:\n", 1)[1].split("\n\n")[0].rstrip("\n").split("\n") if f"{head}:\n" in text else []


def commands():
    return dict(re.match(r"  (\S+) +(.*)", line).groups() for line in section(help_of(), "commands"))


def nouns():
    """noun -> (help, [verb])"""
    return {n: (h, v.split(", ")) for n, h, v in (re.match(r"  (\S+) +(.*): (.*)", line).groups() for line in section(help_of(), "nouns"))}


def verbs(noun):
    """verb -> help"""
    lines = section(help_of(noun), "verbs")
    return {lines[i].split()[0]: lines[i + 1].strip() for i in range(0, len(lines), 2)}


def options(*words):
    """option -> (argument or "", help)"""
    lines = section(help_of(*words), "options")
    return {(w := lines[i].split())[0]: (w[1] if len(w) > 1 and w[1] != "..." else "", lines[i + 1].strip()) for i in range(0, len(lines), 2)}


def columns(noun):
    """Titles of the tables in the code."""
    return set(re.findall(r'\{ "([A-Z][A-Z %]*)", "\w+", COLUMN_', (TOP / f"tools/cmd_{noun}.c").read_text()))


def man(name):
    return (MAN / f"{name}.8").read_text()


def plain(text):
    """The words of a page without its macros."""
    text = re.sub(r"^\.[A-Z][a-z]( [A-Z][a-z]\b)* ?", "", text, flags=re.M)
    return " ".join(text.replace("\\-", "-").replace("\\&", "").replace("\\(aq", "'").split())


def parts():
    return [*commands(), *nouns()] if TRAMMEL.exists() else []


@needs_build
def test_every_noun_of_the_help_has_the_verbs_of_its_table():
    for noun, (text, names) in nouns().items():
        assert names == list(verbs(noun)), noun
        assert text in help_of(noun)
        for verb in names:
            assert verbs(noun)[verb] in help_of(noun, verb)


@needs_build
def test_every_file_is_in_the_help():
    """A cmd_<noun>.c that no table names would never run."""
    files = {p.stem[len("cmd_"):] for p in (TOP / "tools").glob("cmd_*.c")}
    assert files == {*commands(), *nouns()}


@needs_build
def test_there_is_a_page_for_each_and_no_other():
    want = {"trammel", "trammel-agent", "trammel-proxy"} | {f"trammel-{p}" for p in parts()}
    assert {p.stem for p in MAN.glob("*.8")} == want


@needs_build
def test_main_page():
    page = man("trammel")
    text = plain(page)
    listed = re.findall(r"^\.It Cm (\S+)", page, re.M)
    assert listed == parts()
    for name, words in commands().items():
        assert words in text, name
    for noun, (words, names) in nouns().items():
        assert f"{noun} {words}: {' , '.join(names)} ." in text, noun
    for option, (_, words) in {"--" + o: ("", h) for o, h in re.findall(r"^  --(\w+) +(.*)", help_of().split("\noptions:\n")[1], re.M)}.items():
        assert f".It Fl -{option[2:]}\n{words}\n" in page, option
    assert set(re.findall(r"^\.Xr (trammel-\S+) 8", page, re.M)) == {p.stem for p in MAN.glob("trammel-*.8")}


@needs_build
@pytest.mark.parametrize("noun", [p for p in parts() if p in nouns()])
def test_page_of_noun(noun):
    page = man(f"trammel-{noun}")
    assert f".Nd {nouns()[noun][0]}\n" in page
    assert re.findall(r"^\.It Cm (\S+)", page, re.M) == list(verbs(noun))
    assert re.findall(rf"^\.Cm {noun} (\S+)", page, re.M) == list(verbs(noun)), "SYNOPSIS"
    for verb, words in verbs(noun).items():
        assert words in plain(page), verb
        for option in options(noun, verb):
            assert f".It Fl -{option[2:]}" in page
    described = page.split(".Sh COLUMNS")[1].split("\n.Sh ")[0] if ".Sh COLUMNS" in page else ""
    assert set(re.findall(r"^\.It Sy (.*)", described, re.M)) == columns(noun)


@needs_build
@pytest.mark.parametrize("command", [p for p in parts() if p in commands()])
def test_page_of_command(command):
    page = man(f"trammel-{command}")
    want = options(command)
    assert f".Nd {commands()[command]}\n" in page
    for name, words in want.items():
        arg = f" Ar {words[0]}" if words[0] else ""
        assert f".It Fl -{name[2:]}{arg}\n{words[1]}" in page, name
        assert f".Op Fl -{name[2:]}{arg}" in page, f"{name} in SYNOPSIS"
    listed = re.findall(r"^\.It Fl -(\S+)", page, re.M)
    assert [f"--{o}" for o in listed] == list(want)


def test_environment_is_described():
    """Every TRAMMEL_ variable the programs read stands in a page, and no other."""
    read = set()
    for p in [*TOP.glob("base/**/*.c"), *TOP.glob("control/**/*.c"), *TOP.glob("proxy/**/*.c"), *TOP.glob("tools/*.c")]:
        read |= set(re.findall(r'(?:getenv|env_or)\("(TRAMMEL_\w+)"', p.read_text()))
    told = set()
    for p in MAN.glob("*.8"):
        told |= set(re.findall(r"^\.It Ev (\w+)", p.read_text(), re.M))
    assert told == read


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("page", sorted(p.name for p in MAN.glob("*.8")))
def test_pages_are_sound(page):
    r = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", MAN / page], capture_output=True, text=True)
    assert not r.stdout + r.stderr


def complete(*words):
    """What bash offers behind @words, of which the last is being typed."""
    script = 'source "$1"; shift; COMP_WORDS=(trammel "$@"); COMP_CWORD=$#; _trammel; printf "%s\\n" "${COMPREPLY[@]}"'
    r = subprocess.run(["bash", "-uc", script, "bash", TOP / "tools/completion/trammel.bash", *words], capture_output=True, text=True, timeout=10)
    assert r.returncode == 0 and not r.stderr, (words, r)
    return [line for line in r.stdout.split("\n") if line]


@needs_build
def test_completion():
    common = ["--json", "--help"]
    assert complete("") == [*parts(), *common, "--version"]
    assert complete("--json", "wo") == ["workload"]
    for noun in nouns():
        assert complete(noun, "") == [*verbs(noun), *common], noun
        for verb in verbs(noun):
            assert complete(noun, verb, "") == [*options(noun, verb), *common], (noun, verb)
    for command in commands():
        assert complete(command, "") == [*options(command), *common], command
        for option, (arg, _) in options(command).items():
            offered = complete(command, option, "--")
            assert not offered if arg else offered, f"{option} takes {arg or 'no value'}"
    assert complete("nothing", "") == common
    assert "bash" in complete("run", "--name", "x", "--", "bas")


def test_completion_knows_directories(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy.txt").write_text("")
    assert complete("up", "--policy", f"{tmp_path}/po") == [f"{tmp_path}/policy"]


def reasons_module():
    spec = importlib.util.spec_from_file_location("reasons", TOP / "docs/reasons.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_of_reasons():
    assert (TOP / "docs/reasons.md").read_text() == reasons_module().page(), "run docs/reasons.py > docs/reasons.md"


def test_reasons_are_one_word_each():
    names, labels, texts = zip(*(r[1:] for r in reasons_module().reasons()))
    header = (TOP / "include/trammel/reason.h").read_text()
    assert len(names) == len(re.findall(r"^\tX\(|^\s+X\(", header, re.M))
    assert len(set(labels)) == len(labels) and len(set(texts)) == len(texts)
    assert [n.lower() for n in names] == list(labels)
    for name in reasons_module().flags():
        assert name in names
