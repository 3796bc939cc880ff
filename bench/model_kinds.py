#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""model_kinds.py COUNT OUT: a YANG module with that many kinds, the first like an APM partition."""
import sys

count, out = int(sys.argv[1]), sys.argv[2]
name = out.rsplit('/', 1)[-1].removesuffix('.yang')
text = [f'''module {name} {{
  yang-version 1.1;
  namespace "urn:weft:{name}";
  prefix b;
  import weft-extensions {{ prefix weft; }}
  import weft-types {{ prefix wt; }}
  description "Kinds for bench/model_parse.c.";
  revision 2026-11-21 {{ description "First version."; }}
''']
for i in range(count):
    text.append(f'''  container group-{i} {{ description "Group."; container inner {{ description "Inner.";
    list thing {{ weft:kind "thing-{i}"; key "name"; description "A thing.";
      must "shortest <= longest" {{ error-message "shortest is above longest."; }}
      leaf name {{ type wt:name; description "Name."; }}
      leaf shortest {{ type uint8 {{ range "8..30"; }} mandatory true; description "Shortest."; }}
      leaf longest {{ type uint8 {{ range "8..30"; }} mandatory true; description "Longest."; }}
      leaf low {{ type uint8 {{ range "1..100"; }} default "10"; description "Low."; }}
      container more {{ description "More.";
        leaf size {{ type uint64; default "5"; description "Size."; }}
        leaf mode {{ type enumeration {{ enum on; enum off; }} default "on"; description "Mode."; }} }}
      list prefix {{ key "prefix"; ordered-by user; description "Prefixes.";
        leaf prefix {{ type wt:ipv4-prefix; description "Prefix."; }}
        list part {{ key "prefix"; description "Parts.";
          leaf prefix {{ type wt:ipv4-prefix; description "Prefix."; }}
          leaf owner {{ type wt:system-id; mandatory true; description "Owner."; }} }} }} }} }} }}
''')
    # the same without must: no libyang tree is needed for it
    text.append(f'''  container plain-{i} {{ description "Group.";
    list thing {{ weft:kind "plain-{i}"; key "name"; description "A thing.";
      leaf name {{ type wt:name; description "Name."; }}
      leaf threshold {{ type uint32; mandatory true; description "Threshold."; }}
      leaf note {{ type string {{ length "0..255"; }} description "Note."; }} }} }}
''')
text.append('}\n')
with open(out, 'w') as f:
    f.write(''.join(text))
