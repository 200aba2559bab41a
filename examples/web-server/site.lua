-- A web server with one page, made so that running this twice changes nothing.
workflow({
    name = "web-server",
    description = "nginx with one page",
})

task({
    name = "install-nginx",
    run = function()
        local package = pkg.install({ name = "nginx", state = "present" })
        print(package.changed and "nginx was installed" or "nginx is there already")
    end,
})

task({
    name = "configure-nginx",
    depends_on = { "install-nginx" },
    run = function()
        file_ops.directory({ path = "/srv/www", mode = "0755" })
        file_ops.template({
            src = "index.html.j2",
            dest = "/srv/www/index.html",
            vars = { title = "Welcome", paragraphs = { "This page is managed." } },
            mode = "0644",
        })
        local site = file_ops.copy({
            src = "site.conf",
            dest = "/etc/nginx/sites-available/default",
            mode = "0644",
        })
        if site.changed then
            systemd.restart({ name = "nginx" })
        end
    end,
})

task({
    name = "ensure-service-running",
    depends_on = { "configure-nginx" },
    run = function()
        systemd.ensure({ name = "nginx", state = "started", enabled = true })
        stack.set_output("url", "http://localhost/")
    end,
})
