(function () {
    "use strict";
    var client = "/_matrix/client/v3";
    var words = { ok: "ok", warning: "warning", failure: "failure", skipped: "not tried" };
    var summaries = {
        ok: "All is well.",
        warning: "It works. Some things may hurt one day.",
        failure: "Some things do not work."
    };
    var byId = function (id) { return document.getElementById(id); };
    var message = byId("message");

    function say(text, isWaiting) {
        message.textContent = text;
        message.className = isWaiting ? "waiting" : "";
        message.hidden = !text;
    }

    function element(name, className, text) {
        var made = document.createElement(name);
        made.className = className;
        made.textContent = text;
        return made;
    }

    // What stands between backticks is to be typed as it is.
    function withCode(made, text) {
        made.textContent = "";
        text.split("`").forEach(function (part, at) {
            made.appendChild(at % 2 ? element("code", "", part) : document.createTextNode(part));
        });
        return made;
    }

    function resultOf(found) {
        var item = element("li", found.state, "");
        item.appendChild(element("span", "state " + found.state, words[found.state]));
        item.appendChild(element("span", "subject", found.subject));
        item.appendChild(withCode(element("p", "text", ""), found.text));
        if (found.cure) { item.appendChild(withCode(element("p", "cure", ""), found.cure)); }
        return item;
    }

    function many(count, what) { return count + " " + what + (count === 1 ? "" : "s"); }

    function show(report) {
        var to = byId("report");
        var counts = report.counts;
        byId("name").textContent = report.server_name;
        to.textContent = "";
        var summary = element("div", "summary " + report.state, "");
        summary.appendChild(element("strong", "", summaries[report.state]));
        summary.appendChild(document.createTextNode(
            many(counts.failure, "failure") + ", " + many(counts.warning, "warning") + ", " + counts.ok + " ok. Checked " +
            new Date(report.started_ts).toLocaleString() + ", in " + (report.took_ms / 1000).toFixed(1) + " s."
        ));
        to.appendChild(summary);
        report.sections.forEach(function (section) {
            to.appendChild(element("h2", "", section.title));
            var list = element("ul", "", "");
            section.results.forEach(function (found) { list.appendChild(resultOf(found)); });
            to.appendChild(list);
        });
    }

    function request(method, path, token, body) {
        var options = { method: method, headers: {}, cache: "no-store" };
        if (token) { options.headers.Authorization = "Bearer " + token; }
        if (body) { options.body = JSON.stringify(body); }
        return fetch(path, options).then(function (response) {
            return response.json().then(function (answer) {
                if (!response.ok) { throw new Error(answer.error || "The server refused."); }
                return answer;
            });
        });
    }

    function signIn() {
        return request("POST", client + "/login", null, {
            type: "m.login.password",
            identifier: { type: "m.id.user", user: byId("user").value },
            password: byId("password").value,
            initial_device_display_name: "Check of the server"
        }).then(function (answer) { return answer.access_token; });
    }

    function report(token) {
        var server = byId("server").value.trim();
        var query = server ? "?server=" + encodeURIComponent(server) : "";
        return request("GET", "/_matrixd/check/report" + query, token);
    }

    // A given token stays as it is; one that was made for this is given back, whatever came of it.
    function ask() {
        var given = byId("token").value.trim();
        if (given) { return report(given); }
        return signIn().then(function (token) {
            return report(token).finally(function () {
                return request("POST", client + "/logout", token, {}).catch(function () { return null; });
            });
        });
    }

    byId("token").addEventListener("input", function () {
        var isGiven = Boolean(byId("token").value);
        byId("user").required = byId("password").required = !isGiven;
    });

    byId("ask").addEventListener("submit", function (event) {
        event.preventDefault();
        byId("submit").disabled = true;
        byId("report").textContent = "";
        say("Looking; this takes up to a minute …", true);
        ask().then(function (found) {
            say("");
            show(found);
        }).catch(function (error) {
            say(error.message || "The server does not answer.");
        }).finally(function () { byId("submit").disabled = false; });
    });
})();
