"""From predictions to the tables of the study; `analysis` of the config turns parts off."""


rule baseline:
    input:
        splits=[rules.split.output.train, rules.split.output.valid, rules.split.output.test],
        encoder=encoder_of_text,
    output:
        predictions=f"{BASELINE}/predictions.parquet",
        probabilities=f"{BASELINE}/probabilities.parquet",
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
        encoder=lambda wildcards, input: planning.files(
            encoder=[input.encoder] * bool(input.encoder)
        ),
        text=flags(baseline_settings),
        out=output_folder,
    message:
        "train and test the baseline, {wildcards.text}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --splits {params.splits:q} {params.encoder} {params.text} --out {params.out:q}"


if ANALYSIS["tuned"]:

    checkpoint choose:
        input:
            files_of_runs("train.json"),
        output:
            tables_of("choose"),
        log:
            f"{LOGS}/choose.log",
        localrule: True
        conda:
            "../../envs/results.yaml"
        params:
            command=command("choose"),
            code=code("choose"),
            runs=run_folders,
            out=output_folder,
        message:
            f"choose among the learning rates of {N_RUNS} runs; log: {{log}}"
        shell:
            "python {params.command:q} --log {log:q} --runs {params.runs} --out {params.out:q}"


rule collect:
    input:
        runs=files_of_runs("history.csv", "train.json"),
        tests=files_of_tested_runs("test.json"),
        baselines=[*BASELINES, *SAMPLE_BASELINES],  # whose seconds count
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
        logs=logs_folder,
        tuned=flags({"tuned": ANALYSIS["tuned"]}),
        out=output_folder,
    message:
        f"collect {N_RUNS} runs; log: {{log}}"
    shell:
        "python {params.command:q} --log {log:q} --runs {params.runs} --logs {params.logs:q} {params.tuned} --out {params.out:q}"


rule analyse:
    input:
        table=table("runs"),
        runs=files_of_runs("train.json"),
        tests=files_of_tested_runs(*PREDICTED),
        baselines=BASELINES,
        samples=SAMPLE_BASELINES,
        reviews=expand(rules.split.output.test, dataset=DATASET),
        tokens=expand(rules.pretokenize.output.test, dataset=DATASET, model=MODELS),
    output:
        tables_of("analyse"),
    log:
        f"{LOGS}/analyse.log",
    conda:
        "../../envs/results.yaml"
    resources:
        mem_mb=8000,
    params:
        command=command("analyse"),
        code=code("analyse"),
        runs=run_folders,
        baselines=baseline_folders,
        samples=lambda wildcards, input: planning.files(samples=folders(input.samples)),
        how=flags({key: ANALYSIS[key] for key in ("statistics", "errors", "metric", "margin")}),
        noun=config["dataset"]["noun"],
        published=Unrecorded(planning.files(published=map(outside, published_figures()))),
        figures=[sha256(Path(path)) for path in published_figures()],
        out=output_folder,
    message:
        f"analyse {N_RUNS} runs and the baselines; log: {{log}}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} {params.baselines} "
        "{params.samples} --reviews {input.reviews:q} --tokens {input.tokens:q} {params.how} --noun {params.noun:q} "
        "{params.published} --out {params.out:q}"


rule explain:
    input:
        table=table("runs"),
        runs=files_of_tested_runs("checkpoint", *PREDICTED),
        reviews=expand(rules.split.output.test, dataset=DATASET),
        tokens=expand(rules.pretokenize.output.test, dataset=DATASET, model=MODELS),
    output:
        tables_of("explain"),
    log:
        f"{LOGS}/explain.log",
    conda:
        "../../envs/training.yaml"
    threads: config["training"]["threads"]
    resources:
        mem_mb=8000,
    params:
        command=command("explain"),
        code=code("explain"),
        runs=run_folders,
        how=flags(explain_settings),
        out=output_folder,
    message:
        "map test reviews, and read the attention in one; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} --reviews {input.reviews:q} "
        "--tokens {input.tokens:q} {params.how} --out {params.out:q}"


rule latency:
    input:
        table=table("runs"),
        runs=files_of_tested_runs("checkpoint"),
        exports=exports,
        baselines=expand(f"{BASELINE}/test.json", dataset=DATASET, text=[FULL_TEXT] * bool(TEXTS)),
        splits=expand([rules.split.output.train, rules.split.output.test], dataset=DATASET),
        encoders=expand(rules.encoder.output, dataset=DATASET, model=MODELS),
    output:
        tables_of("latency"),
    log:
        f"{LOGS}/latency.log",
    conda:
        "../../envs/training.yaml"
    threads: lambda wildcards: max(ENGINE.all_cores(wildcards), config["training"]["threads"])
    resources:
        mem_mb=16000,
        gpu=latency_gpus,
        gres=lambda wildcards: "gpu:1" if latency_gpus(wildcards) else "",
    params:
        command=command("latency"),
        code=code("latency"),
        runs=run_folders,
        splits=lambda wildcards, input: os.path.dirname(input.splits[0]),
        baselines=baseline_folders,
        how=flags(latency_settings),
        out=output_folder,
    message:
        "measure what a prediction costs, with nothing beside it; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --runs {params.runs} {params.baselines} "
        "--splits {params.splits:q} --encoders {input.encoders:q} {params.how} --out {params.out:q}"
