#!/bin/bash
# SPDX-License-Identifier: MIT
# Proof that the simulator sees: breaks the consumer on purpose, one way after the other, in a copy of the sources, and
# demands that a seed finds each breakage. Usage: tests/sim/mutations.sh [SEEDS-PER-MUTATION]
set -eu
seeds=${1:-3000}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tests"
cp -r "$root/src" "$root/include" "$work"
cp -r "$root/tests/sim" "$work/tests"
cd "$work"

flags="-std=c17 -D_GNU_SOURCE -O1 -w -Iinclude -Isrc -Isrc/..  -Itests/sim"
machine="answer balance core deliver fleet graph lease listing page reader record save start state stats timer"
files=$(ls src/base/*.c src/item/*.c tests/sim/*.c; for f in $machine; do echo "src/stream/$f.c"; done)

compile() { # file
    cc $flags -c "$1" -o "objects/$(echo "$1" | tr / _).o"
}

mkdir objects
export -f compile
export flags
echo "$files" | xargs -P 2 -I{} bash -c 'compile {}'
link() { cc objects/*.o -o sim -ldeflate -lm; }
link
./sim --count 200 > /dev/null || { echo "the consumer is broken without any mutation"; exit 1; }

found=0
missed=0
mutate() { # what, file, sed expression
    local file="src/stream/$2"
    cp "$file" kept.c
    sed -i -E "$3" "$file"
    if cmp -s "$file" kept.c; then
        echo "MISSED  $1: the place to break is not there any more ($2)"
        missed=$((missed + 1))
        return
    fi
    compile "$file"
    link
    local from=1 out
    while [ "$from" -le "$seeds" ]; do
        # a crash or an endless run is a find, too
        if ! out=$(timeout 120 ./sim --seed "$from" --count 100 --first 2>&1); then
            echo "found   $1: $(echo "$out" | grep -m1 '^seed' || echo "seeds from $from crash or never end")"
            found=$((found + 1))
            break
        fi
        from=$((from + 100))
    done
    if [ "$from" -gt "$seeds" ]; then
        echo "MISSED  $1: $seeds seeds saw nothing"
        missed=$((missed + 1))
    fi
    cp kept.c "$file"
    compile "$file"
}

mutate "a child does not wait for its parent's end to be saved" graph.c \
    's/return p \? p->phase == TR__PHASE_FINISHED/return p ? p->phase >= TR__PHASE_DRAINING/'
mutate "a shard's end counts as saved at once" save.c \
    's/\} else if \(nothing_keeps\(core\)\) \{/} else if (nothing_keeps(core) || end) {/'
mutate "what is handed out counts as acknowledged" deliver.c \
    's/(page->entries\[to\]\.state) == TR__ENTRY_ACKED/\1 != TR__ENTRY_QUEUED/'
mutate "a failed save counts as a save" save.c 's/^    if \(a->code == 0\) \{/    if (a->code == 0 || a->code == TR_EIO) {/'
mutate "an expired iterator goes on at LATEST" reader.c 's/= TR__ITERATOR_AFTER;/= TR__ITERATOR_LATEST;/'
mutate "a start at LATEST is forgotten in a crash" reader.c \
    's/if \(s->bookmarking\) \{/if (s->bookmarking || s->ack.kind == TR__POS_LATEST) {/'
mutate "sequence numbers compare as texts" record.c 's/^    a = without_zeros\(a\);/    return tr_view_cmp(a, b);/'
mutate "records of a closed shard's last page are dropped" answer.c \
    's/^    if \(a->page\)$/    if (a->page \&\& !ended)/'
mutate "only the first page of shards is listed" listing.c 's/bool more = a->last\.len > 0/bool more = false/'
mutate "shards are listed once, and never again" listing.c \
    's/if \(core->o\.manual \|\| core->stopping\)$/if (core->stage == TR__STAGE_RUN)/; s/core->o\.manual\)$/true)/'
mutate "trimmed data are passed over in silence" deliver.c 's/^    tr__deliver_page\(core, s, page\);$/    tr__page_free(page);/'
mutate "one refusal is taken for trimmed data" answer.c \
    's/s->trims >= TR__TRIM_TRIES \&\& !s->verify/true/; s/s->verify = true;/tr__deliver_gap(core, s, TR_GAP_TRIMMED, place_of(s), (tr_view){0});/'
mutate "lanes are chosen by the record, not by its item" deliver.c \
    's/record->keys\.(len|ptr)/record->sequence_number.\1/g'
mutate "memory has no limit" reader.c 's/^    if \(n >= \(full \+ 7\) \/ 8\)$/    if ((n = 1000) != 0)/'
mutate "a worker goes on although its lease may have run out" lease.c 's/^    l->valid = false;$/    if (l) return;/'
mutate "a refused lease write is repeated over the new owner" lease.c \
    's/req->row\.owner = req->expect_owner = me;/req->row.owner = me, req->expect_owner = tr_view_str(l->owner);/; s/if \(l->mine \&\& !me\)$/if (false)/'
mutate "a lease's row is removed while the shard is there" listing.c \
    's/s->phase == TR__PHASE_FINISHED \&\& s->absent >= TR__ABSENT_LISTINGS/s->phase == TR__PHASE_FINISHED/'
mutate "a new owner goes on with the iterator of an old one" lease.c \
    's/^    tr_free\(s->iterator\); \/\* it was of another place \*\/$/    if (s->iterator) s->ack.kind = TR__POS_LATEST;/'

mutate "all counts as read while a shard's last records wait for their checkpoint" stats.c \
    's/^    case TR__PHASE_DRAINING:$/    case TR__PHASE_DRAINING: if (s->children == 0 \|\| s->unacked == 0) return INT64_MAX;/'
mutate "all counts as read although an ended shard's children are not known" stats.c \
    's/s->children \|\| core->gone/true/'

echo "$found breakages found, $missed missed"
[ "$missed" -eq 0 ]
