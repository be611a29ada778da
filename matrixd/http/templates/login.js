(function () {
    "use strict";
    var endpoint = "/_matrix/client/v3/login";
    var form = document.getElementById("login");
    var message = document.getElementById("message");
    var query = new URLSearchParams(window.location.search);

    function show(text) {
        message.textContent = text;
        message.hidden = false;
    }

    function logIn(credentials) {
        message.hidden = true;
        // What is no credential is handed on from the query to the request.
        ["device_id", "initial_device_display_name"].forEach(function (name) {
            if (query.has(name)) { credentials[name] = query.get(name); }
        });
        if (query.has("refresh_token")) { credentials.refresh_token = query.get("refresh_token") === "true"; }
        fetch(endpoint, { method: "POST", body: JSON.stringify(credentials) }).then(function (response) {
            return response.json().then(function (answer) {
                if (!response.ok) { show(answer.error || "The server refused."); return; }
                form.hidden = true;
                if (window.matrixLogin && window.matrixLogin.onLogin) {
                    window.matrixLogin.onLogin(answer);
                } else {
                    show("You are logged in, but no client waits for that.");
                }
            });
        }).catch(function () { show("The server does not answer."); });
    }

    form.addEventListener("submit", function (event) {
        event.preventDefault();
        logIn({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: document.getElementById("user").value },
            password: document.getElementById("password").value
        });
    });

    window.matrixLogin = window.matrixLogin || {};
    if (query.has("loginToken")) {
        logIn({ type: "m.login.token", token: query.get("loginToken") });
        return;
    }
    fetch(endpoint).then(function (response) { return response.json(); }).then(function (answer) {
        var offered = (answer.flows || []).some(function (flow) { return flow.type === "m.login.password"; });
        if (offered) { form.hidden = false; } else { show("This server offers no login with a password."); }
    }).catch(function () { show("The server does not answer."); });
})();
