"""From predictions to the tables of the study; `analysis` of the config turns parts off."""


rule baseline:
    input:
        splits=[rules.split.output.train, rules.split.output.valid, rules.split.output.test],
        encoder=encoder_of_text,
    output:
        predictions=f"{BASELINE}/predictions.parquet",
        measured=f"{BASELINE}/test.json",
    log:
        f"{LOGS}/dataset={{dataset}}/text={{text}}/baseline.log",
    conda:
        "../../envs/training.yaml"
    resources:
        mem_mb=8000,
    params:
        command=command("baseline"),
        code=code("baseline"),
        splits=input_folder,
        encoder=encoder_folder,
        text=flags(text_settings),
        out=output_folder,
    message:
        "train and test the baseline, {wildcards.text} text; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --splits {params.splits:q} {params.encoder} {params.text} --out {params.out:q}"


use rule baseline as baseline_sample with:
    output:
        predictions=f"{BASELINE_SAMPLE}/predictions.parquet",
        measured=f"{BASELINE_SAMPLE}/test.json",
    log:
        f"{LOGS}/dataset={{dataset}}/text={{text}}/examples={{examples}}/seed={{seed}}/baseline.log",
    params:
        text=flags(sample_settings),
    message:
        "train and test the baseline, {wildcards.text} text, {wildcards.examples} reviews, "
        "seed {wildcards.seed}; log: {log}"


rule collect:
    input:
        runs=files_of_runs("history.csv", "train.json", "test.json"),
    output:
        tables_of("collect"),
    log:
        f"{LOGS}/collect.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("collect"),
        code=code("collect"),
        runs=run_folders,
        tuned=flags({"tuned": ANALYSIS["tuned"]}),
        out=output_folder,
    message:
        f"collect {N_RUNS} runs; log: {{log}}"
    shell:
        "python {params.command:q} --log {log:q} --runs {params.runs} {params.tuned} --out {params.out:q}"


rule tune:
    input:
        table=table("runs"),
    output:
        tables_of("tune"),
    log:
        f"{LOGS}/tune.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("tune"),
        code=code("tune"),
        out=output_folder,
    message:
        "tell which learning rates were tried; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --out {params.out:q}"


rule overviews:
    input:
        table=table("runs"),
        baselines=BASELINE_FILES,
    output:
        tables_of("overviews"),
    log:
        f"{LOGS}/overviews.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("overviews"),
        code=code("overviews"),
        baselines=baseline_folders,
        out=output_folder,
    message:
        "write the tables in the forms of published ones; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} {params.baselines} --out {params.out:q}"


rule measure:
    input:
        table=table("runs"),
        runs=files_of_runs("predictions.parquet"),
        baselines=BASELINE_FILES,
    output:
        tables_of("measure"),
    log:
        f"{LOGS}/measure.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("measure"),
        code=code("measure"),
        runs=run_folders,
        baselines=baseline_folders,
        out=output_folder,
    message:
        f"measure {N_RUNS} runs and the baselines; log: {{log}}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} {params.baselines} "
        "--out {params.out:q}"


rule data_curve:
    input:
        table=table("runs"),
        conditions=table("conditions"),
        baselines=SAMPLE_FILES,
    output:
        tables_of("data_curve"),
    log:
        f"{LOGS}/data_curve.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("data_curve"),
        code=code("data_curve"),
        baselines=baseline_folders,
        out=output_folder,
    message:
        "tell how accuracy grows with the training reviews; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --conditions {input.conditions:q} "
        "{params.baselines} --out {params.out:q}"


rule compare:
    input:
        table=table("runs"),
        runs=files_of_runs("predictions.parquet"),
        baselines=BASELINE_FILES,
    output:
        tables_of("compare"),
    log:
        f"{LOGS}/compare.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("compare"),
        code=code("compare"),
        runs=run_folders,
        baselines=baseline_folders,
        out=output_folder,
    message:
        "compare runs in pairs; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} {params.baselines} "
        "--out {params.out:q}"


rule findings:
    input:
        table=table("runs"),
        conditions=table("conditions"),
        runs=files_of_runs("predictions.parquet"),
        baselines=BASELINE_FILES,
    output:
        tables_of("findings"),
    log:
        f"{LOGS}/findings.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("findings"),
        code=code("findings"),
        runs=run_folders,
        baselines=baseline_folders,
        margin=flags({"margin": ANALYSIS["margin"]}),
        learned=schema.keys_that("learned"),  # which the command reads in the schema
        out=output_folder,
    message:
        "answer the questions of the study; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --conditions {input.conditions:q} "
        "--runs {params.runs} {params.baselines} {params.margin} --out {params.out:q}"


rule published:
    input:
        table=table("runs"),
        conditions=table("conditions"),
        runs=files_of_runs("train.json"),
    output:
        tables_of("published"),
    log:
        f"{LOGS}/published.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("published"),
        code=code("published"),
        published=published_file,
        figures=published_digest,
        runs=run_folders,
        out=output_folder,
    message:
        "set published figures beside the measured ones; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --published {params.published:q} --table {input.table:q} "
        "--conditions {input.conditions:q} --runs {params.runs} --out {params.out:q}"


rule errors:
    input:
        table=table("runs"),
        runs=files_of_runs("predictions.parquet"),
        reviews=TEST_REVIEWS,
    output:
        tables_of("errors"),
    log:
        f"{LOGS}/errors.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("errors"),
        code=code("errors"),
        runs=run_folders,
        out=output_folder,
    message:
        "list the errors on the test split; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} --reviews {input.reviews:q} "
        "--out {params.out:q}"


rule lengths:
    input:
        table=table("runs"),
        runs=files_of_runs("predictions.parquet"),
        baselines=BASELINE_FILES,
        reviews=TEST_REVIEWS,
        tokens=TEST_TOKENS,
    output:
        tables_of("lengths"),
    log:
        f"{LOGS}/lengths.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("lengths"),
        code=code("lengths"),
        runs=run_folders,
        baselines=baseline_folders,
        out=output_folder,
    message:
        "measure accuracy by the length of the reviews; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} {params.baselines} "
        "--reviews {input.reviews:q} --tokens {input.tokens:q} --out {params.out:q}"


rule tsne:
    input:
        table=table("runs"),
        runs=files_of_runs("checkpoint", "predictions.parquet"),
        reviews=TEST_REVIEWS,
        tokens=TEST_TOKENS,
    output:
        tables_of("tsne"),
    log:
        f"{LOGS}/tsne.log",
    conda:
        "../../envs/training.yaml"
    threads: config["training"]["threads"]
    resources:
        mem_mb=8000,
    params:
        command=command("tsne"),
        code=code("tsne"),
        runs=run_folders,
        how=flags(map_settings),
        out=output_folder,
    message:
        "map test reviews by t-SNE; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} --reviews {input.reviews:q} "
        "--tokens {input.tokens:q} {params.how} --out {params.out:q}"


rule attention:
    input:
        table=table("runs"),
        runs=files_of_runs("checkpoint", "predictions.parquet"),
        reviews=TEST_REVIEWS,
    output:
        tables_of("attention"),
    log:
        f"{LOGS}/attention.log",
    conda:
        "../../envs/training.yaml"
    threads: config["training"]["threads"]
    resources:
        mem_mb=8000,
    params:
        command=command("attention"),
        code=code("attention"),
        runs=run_folders,
        how=flags(attention_settings),
        out=output_folder,
    message:
        "read the attention in a test review; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} --reviews {input.reviews:q} "
        "{params.how} --out {params.out:q}"
