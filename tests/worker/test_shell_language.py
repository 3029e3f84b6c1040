"""The language of the shell, case by case as bash has it: what these texts print was taken from bash 5.2."""

from __future__ import annotations

from pathlib import Path

import pytest

from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell.interpreter import Shell
from agex_worker.shell.reader import read


@pytest.mark.parametrize(
    ("text", "out", "code"),
    [
        (
            'f() { echo "$@"; echo $#; for a in "$@"; do echo "<$a>"; done; }; f "a b" c \'\'',
            "a b c \n3\n<a b>\n<c>\n<>\n",
            0,
        ),
        ('greet() { local n=$1; echo "hi $n"; return 3; }; greet bob; echo $? [$n]', "hi bob\n3 []\n", 0),
        (
            "fact() { if [ $1 -le 1 ]; then echo 1; else echo $(( $1 * $(fact $(( $1 - 1 ))) )); fi; }; fact 6",
            "720\n",
            0,
        ),
        ('f() { cat; }; echo piped | f; function g { shift; echo "$*"; }; g 1 2 3', "piped\n2 3\n", 0),
        ('set -- x "y z"; for a; do echo "[$a]"; done; echo "$1-$2-$#"', "[x]\n[y z]\nx-y z-2\n", 0),
        (
            'cat a.txt | while read line; do echo "=$line"; done; printf \'a,b\\n\' | while IFS=, read -r x y; do echo "$y$x"; done',
            "=b\n=a\n=b\nba\n",
            0,
        ),
        ('n=0; while read x; do n=$((n+x)); done <<< "5"; echo $n; read a b <<< "1 2 3"; echo "$b"', "5\n2 3\n", 0),
        (
            "for i in 1 2; do for j in 1 2; do break 2; done; done; echo $i$j; for i in 1 2; do for j in a b; do [ $j = b ] && continue 2; echo $i$j; done; done",
            "11\n1a\n2a\n",
            0,
        ),
        (
            "for ((i=0,j=9; i<2; i++,j--)); do echo $i $j; done; ((i+=5)); ((i>6)) && echo $i; let i=i*2; echo $i",
            "0 9\n1 8\n7\n14\n",
            0,
        ),
        (
            "echo $((010)) $((0x1F)) $((5 % -3)) $((-7 / 2)) $((2 ** 10)) $((3 > 2 ? 7 : 8)) $((1 && 0)) $((~5)) $((1 << 4)); echo $(( (1 + 2) * 3 ))",
            "8 31 2 -3 1024 7 0 -6 16\n9\n",
            0,
        ),
        (
            "case abc in a*) echo A;; *) echo B;; esac; case y in x|y) echo xy;; esac; case '*' in \"*\") echo star;; esac",
            "A\nxy\nstar\n",
            0,
        ),
        (
            '[[ abc == a?c ]] && echo glob; [[ abc == "a*" ]] || echo quoted; [[ abc =~ ^a.c$ ]] && echo re; [[ -f a.txt && ! -e nosuch && ( 1 -lt 2 || x = y ) ]] && echo all',
            "glob\nquoted\nre\nall\n",
            0,
        ),
        (
            "for x in a A 5 _ . ' '; do for k in upper lower digit punct blank xdigit word; do case \"$x\" in [[:$k:]]) printf '%s ' $k;; esac; done; [[ $x =~ ^[[:upper:][:digit:]]$ ]] && printf RE; [[ $x == [![:punct:]] ]] && printf NOT; echo; done; touch A1 b2; echo [[:upper:]]*; x=a-b; echo ${x//[[:alpha:]]/}",
            "lower xdigit word NOT\nupper xdigit word RENOT\ndigit xdigit word RENOT\npunct word \npunct \nblank NOT\nA1\n-\n",
            0,
        ),
        (
            "cat <<END; X=5; cat <<END; cat <<'END'; cat <<-END\nhome is $((1+1)) $(echo sub) `echo back` \\$X \"q\"\nEND\nX is ${X}y\nEND\nX is $X\nEND\n\tno tab\n\tEND",
            'home is 2 sub back $X "q"\nX is 5y\nX is $X\nno tab\n',
            0,
        ),
        ("cat <<A; cat <<B > b; cat b\none\nA\ntwo\nB", "one\ntwo\n", 0),
        (
            "{ echo out; echo err >&2; } 2>/dev/null; { echo b; echo a; } | sort; (cd d 2>/dev/null; exit 3); echo $?; echo both &> f; cat f",
            "out\na\nb\n3\nboth\n",
            0,
        ),
        (
            "cat nosuch 2>&1 | wc -l; ls nosuch 2>&1 >/dev/null | wc -l; cat nosuch > o 2>&1; wc -l < o; echo x > f1 > f2; cat f1 f2",
            "1\n1\n1\nx\n",
            0,
        ),
        (
            "p=/a/b.tar.gz; echo ${p##*/} ${p%.*} ${p%%.*} ${p#*/}; s='hello world'; echo ${s/o/0} ${s//o/0} ${s:6} ${s:0:5} ${s: -3} ${#s} ${s^} ${s^^}",
            "b.tar.gz /a/b.tar /a/b a/b.tar.gz\nhell0 world hell0 w0rld world hello rld 11 Hello world HELLO WORLD\n",
            0,
        ),
        (
            'echo ${u:-default} "${u-a b}" ${u:+no}.; echo ${v:=set}; echo $v ${v:+yes}; echo "[$u]" $u end',
            "default a b .\nset\nset yes\n[] end\n",
            0,
        ),
        (
            'x=$(printf \'a\\nb\'); echo "$x"; echo $x; y=\'*.txt\'; echo $y "$y" \'$y\' \\$y; z="a   b"; echo $z "$z"',
            "a\nb\na b\na.txt *.txt $y $y\na b a   b\n",
            0,
        ),
        (
            'echo a{1,2}{x,y} {a,b{c,d}} {01..03} {c..a} {1..10..4} "{a,b}" \\{a,b\\} a{}b',
            "a1x a1y a2x a2y a bc bd 01 02 03 c b a 1 5 9 {a,b} {a,b} a{}b\n",
            0,
        ),
        (
            "x=5; x+=3; echo $x; A=1 B=2; echo $A$B; C=3 sh -c 'echo $C $0 $1' name arg; echo \"[$C]\"; eval 'echo $((1+1))'",
            "53\n12\n3 name arg\n[]\n2\n",
            0,
        ),
        (
            "true | false; echo $?; false | true; echo $?; ! true; echo $?; x=$(exit 4); echo $?; exit 3 | true; echo $?",
            "1\n0\n1\n4\n0\n",
            0,
        ),
        ("echo one &&\n  echo two |\n  tr a-z A-Z; echo a \\\n  b; echo a#b # c", "one\nTWO\na b\na#b\n", 0),
        (
            "printf '%5.2f|%-4s|%04d|%x|%c\\n' 3.14159 ab 42 255 xyz; printf '%s-%s\\n' a b c; printf '%b' 'q\\tr\\n'",
            " 3.14|ab  |0042|ff|x\na-b\nc-\nq\tr\n",
            0,
        ),
        (
            "grep -rn b --include=*.txt . | sort; find . -name '*.txt' -print0 | xargs -0 cat | wc -l; printf 'a b\\nc\\n' | xargs -I{} echo '<{}>'",
            "./a.txt:1:b\n./a.txt:3:b\n3\n<a b>\n<c>\n",
            0,
        ),
        (
            "printf 'echo \"got $1\"; exit 2\\n' > s.sh; chmod +x s.sh; ./s.sh x; echo $?; sh s.sh y || echo failed; tac a.txt; expr 1 + 2; printf hi | base64",
            "got x\n2\ngot y\nfailed\nb\na\nb\n3\naGk=\n",
            0,
        ),
        ("set -e; f() { false; echo in; }; if f; then echo cond; fi; false || true; echo ok", "in\ncond\nok\n", 0),
    ],
)
def test_the_language_is_that_of_bash(tmp_path: Path, text: str, out: str, code: int) -> None:
    (tmp_path / "a.txt").write_text("b\na\nb\n")
    shown: list[str] = []
    shell = Shell(WorkspaceTree(tmp_path), shown.append, lambda _: None, {})
    assert (shell.run(text), "".join(shown)) == (code, out)


def test_a_number_too_large_for_a_descriptor_is_a_word_before_the_redirect(tmp_path: Path) -> None:
    out: list[str] = []
    tree = WorkspaceTree(tmp_path)
    text = f"echo a {'1' * 5_000}>x; wc -c <x; echo 12345>y; cat y"
    assert Shell(tree, out.append, out.append, {}).run(text) == 0
    assert "".join(out) == "5003\n12345\n"


def test_of_long_texts_of_commands_none_is_kept_when_it_has_been_read() -> None:
    short, long = "echo kept", f"echo {'x' * 5_000}"
    assert read(short) is read(short)
    assert read(long) == read(long) and read(long) is not read(long)
