#!/bin/sh
# Exit status 1 keeps the candidate: it still holds an append.
grep -q paged_attn.append "$1" && exit 1
exit 0
