"""From predictions to statistics, findings and errors; `analysis` of the config turns parts off."""


rule baseline:
    input:
        splits=[
            rules.split.output.train,
            rules.split.output.valid,
            rules.split.output.test,
        ],
        encoder=seen_through,
        script=script("baseline.py"),
        library=library("baseline.py"),
    output:
        predictions=f"{BASELINE}/predictions.parquet",
        measured=f"{BASELINE}/test.json",
    log:
        "results/logs/dataset={dataset}/text={text}/baseline.log",
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        splits=input_folder,
        seen=seen_flags,
        out=output_folder,
    message:
        "train and test the baseline, {wildcards.text} text"
    shell:
        "python {input.script} --splits {params.splits} {params.seen} "
        "--out {params.out} > {log} 2>&1"


rule measure:
    input:
        table=RUNS_TABLE,
        runs=RUN_FILES,
        baselines=BASELINE_FILES,
        script=script("measure.py"),
        library=library("measure.py"),
    output:
        expand("{tables}/{name}.csv", tables=TABLES, name=MEASURED_TABLES),
    log:
        "results/logs/measure.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        runs=RUN_FOLDERS,
        baselines=flags({"baselines": BASELINE_FOLDERS}),
        out=output_folder,
    message:
        "measure {N_RUNS} runs and the baselines"
    shell:
        "python {input.script} --table {input.table} --runs {params.runs} "
        "{params.baselines} --out {params.out} > {log} 2>&1"


rule compare:
    input:
        runs=RUN_FILES,
        baselines=BASELINE_FILES,
        script=script("compare.py"),
        library=library("compare.py"),
    output:
        expand("{tables}/{name}.csv", tables=TABLES, name=COMPARED_TABLES),
    log:
        "results/logs/compare.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        runs=RUN_FOLDERS,
        baselines=flags({"baselines": BASELINE_FOLDERS}),
        seed=ANALYSIS["seed"],
        out=output_folder,
    message:
        "compare runs in pairs"
    shell:
        "python {input.script} --runs {params.runs} {params.baselines} --seed {params.seed} "
        "--out {params.out} > {log} 2>&1"


rule find:
    input:
        measures=f"{TABLES}/measures.csv",
        settings=f"{TABLES}/settings.csv",
        comparisons=f"{TABLES}/comparisons.csv",
        over_seeds=f"{TABLES}/comparisons_over_seeds.csv",
        script=script("find.py"),
        library=library("find.py"),
    output:
        f"{TABLES}/findings.csv",
    log:
        "results/logs/find.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        variants=flags({"variants": variant_settings()}),
    message:
        "answer the questions of the study"
    shell:
        "python {input.script} --measures {input.measures} --settings {input.settings} "
        "--comparisons {input.comparisons} --over-seeds {input.over_seeds} {params.variants} "
        "--out {output} > {log} 2>&1"


rule published:
    input:
        published=PUBLISHED,
        settings=f"{TABLES}/settings.csv",
        script=script("published.py"),
        library=library("published.py"),
    output:
        f"{TABLES}/published.csv",
    log:
        "results/logs/published.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        how=published_flags,
    message:
        "set published figures beside the measured ones"
    shell:
        "python {input.script} --published {input.published} --settings {input.settings} "
        "{params.how} --out {output} > {log} 2>&1"


rule forms:
    input:
        table=RUNS_TABLE,
        baselines=BASELINE_FILES,
        script=script("forms.py"),
        library=library("forms.py"),
    output:
        expand("{tables}/{name}.csv", tables=TABLES, name=FORM_TABLES),
    log:
        "results/logs/forms.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        baselines=flags({"baselines": BASELINE_FOLDERS}),
        out=output_folder,
    message:
        "write the tables in the forms of published ones"
    shell:
        "python {input.script} --table {input.table} {params.baselines} "
        "--out {params.out} > {log} 2>&1"


rule errors:
    input:
        table=RUNS_TABLE,
        runs=RUN_FILES,
        reviews=TEST_REVIEWS,
        script=script("errors.py"),
        library=library("errors.py"),
    output:
        expand("{tables}/{name}.csv", tables=TABLES, name=ERROR_TABLES),
    log:
        "results/logs/errors.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        runs=RUN_FOLDERS,
        out=output_folder,
    message:
        "list the errors on the test split"
    shell:
        "python {input.script} --table {input.table} --runs {params.runs} "
        "--reviews {input.reviews} --out {params.out} > {log} 2>&1"


rule lengths:
    input:
        table=RUNS_TABLE,
        runs=RUN_FILES,
        baselines=BASELINE_FILES,
        reviews=TEST_REVIEWS,
        tokens=list(TEST_TOKENS.values()),
        script=script("lengths.py"),
        library=library("lengths.py"),
    output:
        f"{TABLES}/lengths.csv",
    log:
        "results/logs/lengths.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        runs=RUN_FOLDERS,
        baselines=flags({"baselines": BASELINE_FOLDERS}),
        tokens=flags({"tokens": TEST_TOKENS}),
    message:
        "measure accuracy by the length of the reviews"
    shell:
        "python {input.script} --table {input.table} --runs {params.runs} "
        "{params.baselines} --reviews {input.reviews} {params.tokens} --out {output} > {log} 2>&1"


rule tsne:
    input:
        table=RUNS_TABLE,
        checkpoints=CHECKPOINTS,
        runs=RUN_FILES,
        reviews=TEST_REVIEWS,
        tokens=list(TEST_TOKENS.values()),
        script=script("tsne.py"),
        library=library("tsne.py"),
    output:
        f"{TABLES}/tsne.csv",
        f"{TABLES}/boundary_errors.csv",
    log:
        "results/logs/tsne.log",
    conda:
        "../../envs/training.yaml"
    threads: config["training"]["threads"]
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        runs=RUN_FOLDERS,
        tokens=flags({"tokens": TEST_TOKENS}),
        how=flags({"sample": ANALYSIS["sample"], "seed": ANALYSIS["seed"]}),
        threads=config["training"]["threads"],
        out=output_folder,
    message:
        "map test reviews by t-SNE"
    shell:
        "python {input.script} --table {input.table} --runs {params.runs} "
        "--reviews {input.reviews} {params.tokens} {params.how} --threads {params.threads} "
        "--out {params.out} > {log} 2>&1"


rule attention:
    input:
        table=RUNS_TABLE,
        checkpoints=CHECKPOINTS,
        runs=RUN_FILES,
        reviews=TEST_REVIEWS,
        script=script("attention.py"),
        library=library("attention.py"),
    output:
        f"{TABLES}/attention.csv",
    log:
        "results/logs/attention.log",
    conda:
        "../../envs/training.yaml"
    threads: config["training"]["threads"]
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        runs=RUN_FOLDERS,
        review=flags({"review": ANALYSIS.get("review", [])}),
        threads=config["training"]["threads"],
    message:
        "read the attention in a test review"
    shell:
        "python {input.script} --table {input.table} --runs {params.runs} "
        "--reviews {input.reviews} {params.review} --threads {params.threads} "
        "--out {output} > {log} 2>&1"
