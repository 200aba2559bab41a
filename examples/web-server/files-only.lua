-- The files of the web server, below a folder of your own: no root, no packages, no service.
--   sloth-runner run files-only.lua --set root=/tmp/somewhere
workflow({ name = "web-files", description = "the files of a web server" })

local root = values.root or error("say where: --set root=/an/absolute/folder")

task({
    name = "configure",
    run = function()
        file_ops.directory({ path = root .. "/www", mode = "0755" })
        file_ops.template({
            src = "index.html.j2",
            dest = root .. "/www/index.html",
            vars = { title = "Welcome", paragraphs = { "This page is managed." } },
            mode = "0644",
        })
        file_ops.copy({ src = "site.conf", dest = root .. "/site.conf", mode = "0644" })
    end,
})

task({
    name = "publish",
    depends_on = { "configure" },
    run = function()
        stack.set_output("page", root .. "/www/index.html")
    end,
})
