"""The commonest mistakes of people who write configurations, and our answers.

Collected from the questions that users of Hydra, OmegaConf and YAML ask.
"""

from pathlib import Path

from nnpx.configuration import resolvers
from nnpx.configuration.option_files import groups_in
from nnpx.configuration.schema import NOUNS
from nnpx.flags import FLAGS

CONF = resolvers.conf_dir()
GROUPS = groups_in([CONF])
DESCRIPTORS = ", ".join(GROUPS["descriptor"])
KEYS = f"name, seed, initial, conf_hash, {', '.join(NOUNS)}"
ACSF = (CONF / "descriptor" / "acsf.yaml").read_text(encoding="utf-8")
GLOBAL = "# @package _global_\n"
#: files of the user's own, in the folder mine/
FILES: dict[str, str | bytes] = {
    "descriptor/tab.yaml": "_target_: nnpx.descriptor.acsf.ACSF\nangular:\n\tzetas: [1]\n",
    "descriptor/twice.yaml": f"{ACSF}kind: wide\n",
    "descriptor/colon.yaml": f"{ACSF}note: width: 3\n",
    "descriptor/bracket.yaml": "_target_: nnpx.descriptor.acsf.ACSF\nkind: [wide\nangular_radius: 4\n",
    "descriptor/nospace.yaml": "_target_:nnpx.descriptor.acsf.ACSF\nkind: wide\n",
    "descriptor/empty.yaml": "# to be written\n",
    "descriptor/latin.yaml": ("# 4.5 Å\n" + ACSF.replace("Å", "A")).encode("latin-1"),
    "descriptor/short.yml": ACSF,
    "descriptor/based.yaml": "defaults: [acfs, _self_]\nkind: wide\n",
    "descriptor/open.yaml": ACSF.replace("kind: narrow ", "kind: ??? "),
    "descriptor/quoted.yaml": ACSF.replace("angular_radius: 4.5", 'angular_radius: "4.5"'),
    "experiment/headless.yaml": "seed: 3\n",
    "experiment/late_header.yaml": f"# mine/experiment/late_header.yaml\n{GLOBAL}defaults: [{{override /ensemble: single}}]\n",
    "experiment/unknown_group.yaml": f"{GLOBAL}defaults: [{{override /descriptr: acsf}}]\n",
    "experiment/unknown_option.yaml": f"{GLOBAL}defaults: [{{override /descriptor: acfs}}]\n",
    "experiment/no_override.yaml": f"{GLOBAL}defaults: [{{/descriptor: acsf_narrow}}]\n",
    "experiment/no_slash.yaml": f"{GLOBAL}defaults: [{{override descriptor: acsf_narrow}}]\n",
    "experiment/mapping.yaml": f"{GLOBAL}defaults: {{override /descriptor: acsf_narrow}}\n",
    "experiment/on.yaml": f"{GLOBAL}name: on\n",
    "experiment/yes.yaml": f'{GLOBAL}data: {{allow_missing: "yes"}}\n',
    "experiment/nothing.yaml": f"{GLOBAL}optimizer: {{learning_rate: null}}\n",
    "changes.yaml": "optimizer: {learning_rate: 1e-4}\n",
}
MINE = ("--config-dir", "mine")


def own(group: str, *more: str) -> str:
    return ", ".join(
        sorted([*GROUPS[group], *(Path(name).stem for name in FILES if name.startswith(f"{group}/") and name.endswith(".yaml"))])
    )


MISTAKES: dict[tuple[str, ...], str] = {
    # the command line
    ("train", "descriptor=acfs"): f"descriptor: expected an option of descriptor ({DESCRIPTORS}), found acfs. Did you mean acsf?",
    ("train", "descriptr=acsf"): (
        f"descriptr: expected one of the keys of an experiment ({KEYS}), found descriptr. Did you mean descriptor?"
    ),
    ("train", "optimizer.learning_rat=1"): (
        "optimizer.learning_rat: expected one of the keys of SOAP (learning_rate, beta1, beta2, epsilon, weight_decay, precondition_every, "
        "max_dimension), found learning_rat. Did you mean learning_rate?"
    ),
    ("train", "my.yaml"): (
        "my.yaml: expected key=value, found the name of a file. Run a composed experiment with --params my.yaml; "
        "or save your changes as experiment/my.yaml and say --config-dir . experiment=my."
    ),
    ("train", "seed", "=", "3"): "seed = 3: expected key=value, found three words. Write seed=3.",
    ("train", "seed:3"): "seed:3: expected key=value, found a colon instead of =. Write seed=3.",
    ("train", "--seed=3"): (
        f"--seed: expected one of the flags ({', '.join(FLAGS)}), found --seed=3. "
        "Write seed=3: what belongs to the experiment has no dashes."
    ),
    ("train", "--config-name", "mine"): (
        f"--config-name: expected one of the flags ({', '.join(FLAGS)}), found --config-name. Name a composed experiment with "
        "--params FILE, or save your changes as DIR/experiment/NAME.yaml and say --config-dir DIR experiment=NAME."
    ),
    ("train", "--multi-run", "seed=0,1"): (
        f"--multi-run: expected one of the flags ({', '.join(FLAGS)}), found --multi-run. Did you mean --multirun?"
    ),
    ("train", "network.hidden=[64,", "64]"): (
        "network.hidden=[64, 64]: expected one word, found two words: the shell divides at spaces. Quote it: 'network.hidden=[64, 64]'."
    ),
    ("train", "network.hidden=64,64"): (
        "network.hidden=64,64: expected one value, found several. Add -m to run each of them; "
        "write network.hidden=[64,64] for a list, 'network.hidden=\"64,64\"' for a text with a comma."
    ),
    ("train", "descriptor=acsf,acsf_narrow"): (
        "descriptor=acsf,acsf_narrow: expected one value, found several. Add -m to run each of them."
    ),
    ("train", "-m", "seed=[0,1]"): (
        "seed: expected a whole number ≥ 0 and < 4294967296, found [0, 1]. Write seed=0,1 with -m to run each of them."
    ),
    ("train", "descriptor=[acsf,acsf_narrow]"): (
        "descriptor=[acsf,acsf_narrow]: expected one option of descriptor, found a list of 2. "
        "Write -m descriptor=acsf,acsf_narrow to run each of them."
    ),
    ("train", "name=lr=0.1"): (
        "name=lr=0.1: expected a value that YAML could hold, found a = outside of quotes. Put the value in quotes: 'name=\"lr=0.1\"'."
    ),
    ("train", "name=fit(2)"): (
        "name=fit(2): expected a value that YAML could hold, found a ( outside of quotes. Put the value in quotes: 'name=\"fit(2)\"'."
    ),
    ("train", "network.hidden[0]=64"): (
        "network.hidden[0]=64: expected a key such as optimizer.learning_rate, found network.hidden[0]. "
        "Join the names with dots (network.hidden=[64,64]); a list is given as a whole."
    ),
    ("train", "+descriptor=acsf"): (
        "+descriptor=acsf: expected descriptor=OPTION, found a + before a group that is chosen already. Drop the +."
    ),
    ("train", "+optimizer.learning_rate=1e-4"): (
        "+optimizer.learning_rate=1e-4: expected + before a new key, found a key that is there already. "
        "Drop the +: optimizer.learning_rate=1e-4."
    ),
    ("train", "~optimizer.learning_rat"): (
        "~optimizer.learning_rat: expected ~ before a key that is there, found no key optimizer.learning_rat. "
        "Did you mean optimizer.learning_rate?"
    ),
    ("train", "~descriptor=acsf_narrow"): (
        "descriptor: expected an option of the group descriptor (a mapping with _target_), found nothing. Give it as descriptor=… ."
    ),
    ("train", "descriptor@potential=acsf"): (
        "descriptor@potential=acsf: expected group=option, found a place for it (@potential). Write descriptor=acsf."
    ),
    ("train", "descriptor/acsf=true"): "descriptor/acsf=true: expected group=option, found a path. Write descriptor=acsf.",
    ("train", "descriptor=null"): f"descriptor: expected an option of descriptor ({DESCRIPTORS}), found nothing. Choose one of them.",
    ("train", "seed=null"): "seed: expected a whole number ≥ 0 and < 4294967296, found null. Change seed.",
    ("train", "seed=???"): "seed: expected a whole number ≥ 0 and < 4294967296, found nothing. Give it as seed=… .",
    ("train", "data.allow_missing=no"): 'data.allow_missing: expected true or false, found "no". Write data.allow_missing=false.',
    ("train", "optimizer.learning_rate='1e-3'"): 'optimizer.learning_rate: expected a number > 0, found "1e-3". Remove the quotes.',
    ("train", "name=${seeed}"): "name: expected ${…} to lead to a value, found ${seeed}, and no key seeed. Did you mean seed?",
    ("train", "seed=${seed}"): "seed: expected ${…} to lead to a value, found ${seed}, which leads back to itself. Give seed a value.",
    ("train", "name=${oc.env:NOT_SET_ANYWHERE}"): (
        "name: expected a value that is the same on every machine, found ${oc.env:NOT_SET_ANYWHERE} (the resolver oc.env). "
        "Write the value, or let the shell fill it in: name=$NAME ."
    ),
    ("train", "name=${hydra:job.num}"): (
        "name: expected a value that is the same on every machine, found ${hydra:job.num} (the resolver hydra). "
        "Write the value, or let the shell fill it in: name=$NAME ."
    ),
    # sweeps
    ("train", "-m", "seed=0,1", "hydra/sweeper=optuna"): (
        "hydra/sweeper: expected a sweeper that is installed (basic), found optuna. Leave it out: -m runs a grid, `nnpx tune` searches."
    ),
    (
        "train",
        "hydra.sweep.dirr=x",
    ): "hydra.sweep.dirr: expected one of the keys of hydra.sweep (dir, subdir), found dirr. Did you mean dir?",
    ("train", "-m", "seed=0,1", "hydra.launcher.n_jobs=2"): (
        "hydra.launcher.n_jobs: expected no keys: this launcher has none, found n_jobs. "
        "Choose a launcher that has it, for example hydra/launcher=joblib."
    ),
    # files of one's own
    (
        "train",
        *MINE,
        "descriptor=tab",
    ): "mine/descriptor/tab.yaml, line 3: expected valid YAML, found a tab before a word. Indent with spaces.",
    ("train", *MINE, "descriptor=twice"): (
        f"mine/descriptor/twice.yaml, line {ACSF.count(chr(10)) + 1}: expected valid YAML, found the key kind twice. Keep one of the two."
    ),
    ("train", *MINE, "descriptor=colon"): (
        f"mine/descriptor/colon.yaml, line {ACSF.count(chr(10)) + 1}: expected valid YAML, found a second colon in a line. "
        "Put the value in quotes, or divide the line."
    ),
    ("train", *MINE, "descriptor=bracket"): (
        "mine/descriptor/bracket.yaml, line 3: expected valid YAML, found a bracket that is not closed. "
        "Close it, and divide what it holds by commas."
    ),
    ("train", *MINE, "descriptor=nospace"): (
        "mine/descriptor/nospace.yaml, line 2: expected valid YAML, found a line without `: ` above it. "
        "Write `key: value`, with a space after the colon."
    ),
    ("train", *MINE, "descriptor=empty"): (
        "mine/descriptor/empty.yaml: expected `_target_: package.module.Class` and the values of that class, found an empty file. "
        "Write it as `key: value`, one a line."
    ),
    ("train", *MINE, "descriptor=latin"): (
        "mine/descriptor/latin.yaml: expected text in UTF-8, found a byte that is none (0xc5 in line 1). Save the file as UTF-8."
    ),
    ("train", *MINE, "descriptor=short"): (
        f"descriptor: expected an option of descriptor ({own('descriptor')}), found short. Rename mine/descriptor/short.yml to short.yaml."
    ),
    ("train", *MINE, "descriptor=based"): (
        f"mine/descriptor/based.yaml: defaults: expected an option of descriptor ({own('descriptor')}), found acfs. Did you mean acsf?"
    ),
    ("train", *MINE, "descriptor=open"): (
        'descriptor.kind in mine/descriptor/open.yaml: expected "narrow" or "wide", found nothing. Give it as descriptor.kind=… .'
    ),
    ("train", *MINE, "descriptor=quoted"): (
        'descriptor.angular_radius in mine/descriptor/quoted.yaml: expected a number > 0, found "4.5". Remove the quotes.'
    ),
    ("train", *MINE, "experiment=headless"): (
        "mine/experiment/headless.yaml: expected `# @package _global_` in its first line, found none. "
        "Begin the file with it: without, its keys would not reach the experiment."
    ),
    ("train", *MINE, "experiment=late_header"): (
        "mine/experiment/late_header.yaml: expected `# @package _global_` in its first line, "
        "found it in line 2, where Hydra does not look. "
        "Begin the file with it: without, its keys would not reach the experiment."
    ),
    ("train", *MINE, "experiment=unknown_group"): (
        f"mine/experiment/unknown_group.yaml: defaults: expected a group ({', '.join(GROUPS)}), found descriptr. Did you mean descriptor?"
    ),
    ("train", *MINE, "experiment=unknown_option"): (
        f"mine/experiment/unknown_option.yaml: defaults: expected an option of descriptor ({own('descriptor')}), "
        "found acfs. Did you mean acsf?"
    ),
    ("train", *MINE, "experiment=no_override"): (
        "mine/experiment/no_override.yaml: defaults: expected `- override /descriptor: acsf_narrow`, "
        "found `- /descriptor: acsf_narrow`. Write it so: the group is chosen already."
    ),
    ("train", *MINE, "experiment=no_slash"): (
        "mine/experiment/no_slash.yaml: defaults: expected `- override /descriptor: acsf_narrow`, "
        "found `- override descriptor: acsf_narrow`. Write it so: the group is chosen already."
    ),
    ("train", *MINE, "experiment=mapping"): (
        "mine/experiment/mapping.yaml: defaults: expected a list, found a mapping or a word. "
        "Write `defaults:` and below it `- name`, one a line."
    ),
    ("train", *MINE, "experiment=on"): (
        "name: expected text (1 or more), found true. Put it in quotes: YAML reads on, off, yes and no as true and false."
    ),
    ("train", *MINE, "experiment=yes"): 'data.allow_missing: expected true or false, found "yes". Write data.allow_missing=true.',
    ("train", *MINE, "experiment=nothing"): "optimizer.learning_rate: expected a number > 0, found null. Change optimizer.learning_rate.",
    ("train", "--config-dir", "mine/descriptor"): (
        f"--config-dir mine/descriptor: expected a folder with folders of options ({', '.join(GROUPS)}), found none of them. "
        "Name the folder above it: --config-dir mine."
    ),
    ("train", "--params", "mine/changes.yaml"): (
        "mine/changes.yaml: expected a composed experiment, with every group in it, found one that is not composed. Compose it: "
        "nnpx compose, or nnpx compose --config-dir DIR experiment=changes for DIR/experiment/changes.yaml."
    ),
}
