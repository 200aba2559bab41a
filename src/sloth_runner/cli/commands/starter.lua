-- A first workflow. Look at it, then try:
--
--   sloth-runner plan @FILE@          what would be done
--   sloth-runner run @FILE@           do it; a second time, there is nothing to do
--   sloth-runner stack drift starter     after you have changed a file of it by hand

workflow({
    name = "starter", -- the stack: what this workflow manages is recorded under this name
    description = "A folder with two files",
})

-- Paths on a machine are absolute.
local here = "@HERE@"

task({
    name = "files",
    run = function()
        file_ops.directory({ path = here, mode = "0755" })

        local greeting = file_ops.content({
            path = here .. "/greeting.conf",
            content = "greeting = hello\n",
            mode = "0644",
        })

        -- Every call says whether it changed something.
        if greeting.changed then
            print("greeting.conf written")
        end
    end,
})

task({
    name = "settings",
    depends_on = { "files" }, -- runs after it, and not at all if it failed
    run = function()
        -- One line of a file that may hold others, yours for example.
        file_ops.lineinfile({
            path = here .. "/notes.txt",
            line = "managed since the first run",
            create = true,
        })
        stack.set_output("config", here .. "/greeting.conf")
    end,
})

-- Managing the machine itself needs root:
--
--   pkg.install({ name = "nginx" })
--   systemd.ensure({ name = "nginx", state = "started", enabled = true })
