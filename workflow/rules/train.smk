"""One training and one test per run; vectors before them where the encoder is not trained."""


rule vectors:
    input:
        tokens=[
            rules.pretokenize.output.train,
            rules.pretokenize.output.valid,
            rules.pretokenize.output.test,
        ],
        encoder=rules.encoder.output,
    output:
        train=f"{VECTORS}/train.parquet",
        valid=f"{VECTORS}/valid.parquet",
        test=f"{VECTORS}/test.parquet",
    log:
        f"{VECTORS.replace('results/vectors', LOGS)}/vectors.log",
    conda:
        "../../envs/training.yaml"
    threads: vectors_threads
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=vectors_gpus,
        gres=lambda wildcards: "gpu:1" if vectors_gpus(wildcards) else "",
    params:
        command=command("vectors"),
        code=code("vectors"),
        tokens=input_folder,
        how=flags(vectors_settings),
        out=output_folder,
    message:
        "compute vectors by {wildcards.model}, {wildcards.pooling}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --tokens {params.tokens:q} --encoder {input.encoder:q} "
        "--pooling {wildcards.pooling} {params.how} --out {params.out:q}"


rule train:
    input:
        tokens=[rules.pretokenize.output.train, rules.pretokenize.output.valid],
        encoder=rules.encoder.output,
        vectors=vectors_of_run("train", "valid"),
    output:
        checkpoint=directory(f"{RUN}/checkpoint"),
        history=f"{RUN}/history.csv",
        measured=f"{RUN}/train.json",
    log:
        f"{RUN_LOGS}/train.log",
    conda:
        "../../envs/training.yaml"
    threads: by_variant(run_threads)
    resources:
        mem_mb=by_variant(lambda variant: 8000 * training(variant)["processes"]),
        runtime=720,
        gpu=by_variant(run_gpus),
        gres=gres(run_gpus),
        save_minutes=by_variant(save_minutes),
    params:
        command=command("train"),
        code=code("train"),
        tokens=input_folder,
        vectors=lambda wildcards, input: planning.files(vectors=folders(input.vectors)),
        run=output_folder,
        labels=flags({"labels": config["dataset"].get("labels", [])}),
        training=by_variant(training_flags),
    message:
        "train {wildcards.model}, {wildcards.pooling}, batch {wildcards.batch}, "
        "{wildcards.variant}, seed {wildcards.seed}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --tokens {params.tokens:q} --encoder {input.encoder:q} "
        "{params.vectors} --run {params.run:q} "
        "--dataset {wildcards.dataset} --model {wildcards.model} --pooling {wildcards.pooling} "
        "--batch {wildcards.batch} --variant {wildcards.variant} --seed {wildcards.seed} "
        "{params.labels} {params.training} --save-minutes {resources.save_minutes}"


rule evaluate:
    input:
        tokens=rules.pretokenize.output.test,
        vectors=vectors_of_run("test"),
        checkpoint=rules.train.output.checkpoint,
        measured=rules.train.output.measured,
        reviews=rules.download.output.counts,
    output:
        predictions=f"{RUN}/predictions.parquet",
        probabilities=f"{RUN}/probabilities.parquet",
        measured=f"{RUN}/test.json",
    log:
        f"{RUN_LOGS}/evaluate.log",
    conda:
        "../../envs/training.yaml"
    threads: by_variant(lambda variant: training(variant)["threads"])
    resources:
        mem_mb=8000,
        gpu=by_variant(test_gpus),
        gres=gres(test_gpus),
    params:
        command=command("evaluate"),
        code=code("evaluate"),
        vectors=lambda wildcards, input: planning.files(vectors=input.vectors),
        run=output_folder,
        test=by_variant(test_flags),
    message:
        "test {wildcards.model}, {wildcards.pooling}, batch {wildcards.batch}, "
        "{wildcards.variant}, seed {wildcards.seed}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --tokens {input.tokens:q} {params.vectors} --run {params.run:q} "
        "--reviews {input.reviews:q} {params.test}"


rule estimate:
    input:
        tokens=expand(rules.pretokenize.output, dataset=DATASET, model=MODELS),
        encoders=expand(rules.encoder.output, dataset=DATASET, model=MODELS),
    output:
        "results/estimate.md",
    log:
        f"{LOGS}/estimate.log",
    conda:
        "../../envs/training.yaml"
    threads: ENGINE.all_cores
    resources:
        mem_mb=8000,
        gpu=max(map(test_gpus, config["variants"])),
    params:
        command=command("estimate"),
        code=code("estimate"),
        runs=run_folders,
        places=lambda wildcards, input: planning.files(
            tokens=folders(input.tokens), encoders=input.encoders
        ),
        tuned=flags({"tuned": ANALYSIS["tuned"]}),
        vectors=all_vectors,
        study=flags(study_settings),
        moment=lambda wildcards: time.time_ns(),  # it measures whenever it is asked for
    message:
        f"estimate how long {N_RUNS} runs take; log: {{log}}"
    shell:
        "python {params.command:q} --log {log:q} --runs {params.runs} {params.places} {params.vectors} {params.tuned} {params.study} --cores {threads} --out {output:q}"
