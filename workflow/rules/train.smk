"""One training and one test per run."""


rule train:
    input:
        tokens=[rules.pretokenize.output.train, rules.pretokenize.output.valid],
        encoder=rules.encoder.output,
        command=command("train"),
        code=code("train"),
    output:
        checkpoint=directory(f"{RUN}/checkpoint"),
        history=f"{RUN}/history.csv",
        measured=f"{RUN}/train.json",
    log:
        f"{RUN_LOGS}/train.log",
    conda:
        "../../envs/training.yaml"
    threads: run_threads
    resources:
        mem_mb=run_memory,
        runtime=720,
        gpu=run_gpus,
    params:
        tokens=input_folder,
        run=output_folder,
        labels=planning.flags({"labels": config["dataset"].get("labels", [])}),
        training=training_flags,
    message:
        "train {wildcards.model}, {wildcards.pooling}, batch {wildcards.batch}, "
        "{wildcards.variant}, seed {wildcards.seed}; log: {log}"
    shell:
        "python {input.command:q} --log {log} --tokens {params.tokens} --encoder {input.encoder} --run {params.run} "
        "--dataset {wildcards.dataset} --model {wildcards.model} --pooling {wildcards.pooling} "
        "--batch {wildcards.batch} --variant {wildcards.variant} --seed {wildcards.seed} "
        "{params.labels} {params.training}"


rule evaluate:
    input:
        tokens=rules.pretokenize.output.test,
        checkpoint=rules.train.output.checkpoint,
        measured=rules.train.output.measured,
        command=command("evaluate"),
        code=code("evaluate"),
    output:
        predictions=f"{RUN}/predictions.parquet",
        measured=f"{RUN}/test.json",
    log:
        f"{RUN_LOGS}/evaluate.log",
    conda:
        "../../envs/training.yaml"
    threads: test_threads
    resources:
        mem_mb=8000,
        gpu=test_gpus,
    params:
        run=output_folder,
        test=test_flags,
    message:
        "test {wildcards.model}, {wildcards.pooling}, batch {wildcards.batch}, "
        "{wildcards.variant}, seed {wildcards.seed}; log: {log}"
    shell:
        "python {input.command:q} --log {log} --tokens {input.tokens} --run {params.run} {params.test}"
