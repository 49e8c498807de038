// Flamenco 3: job type "vfxswap"; put it in the folder `scripts` beside flamenco-manager.
// Not run against Flamenco. "Job Types" in its documentation describes the functions.

const JOB_TYPE = {
    label: "vfxswap",
    settings: [
        { key: "job_file", type: "string", subtype: "file_path", required: true,
          description: "Job file (JSON)." },
        { key: "frames", type: "string", required: true, description: "Frames, as in 1001-1100." },
        { key: "chunk_size", type: "int32", default: 10, description: "Frames a task." },
        { key: "threads", type: "int32", default: 4, description: "Threads of a task." },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const run = ["--threads", String(settings.threads), "--progress", "plain"];

    function add(name, args, after) {
        const task = author.Task(name, "misc");
        task.addCommand(author.Command("exec", { exe: "vfxswap", args: args.concat(run) }));
        for (const before of after) {
            task.addDependency(before);
        }
        job.addTask(task);
        return task;
    }

    const prepare = add("prepare", ["prepare", settings.job_file], []);
    const chunks = frameChunker(settings.frames, settings.chunk_size).map((frames) =>
        add("frames " + frames,
            ["render", settings.job_file, "--frames", frames, "--skip-existing"], [prepare]));
    add("report", ["report", settings.job_file], chunks);
}
