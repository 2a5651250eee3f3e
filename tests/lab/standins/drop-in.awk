# Makes nvidia-ctk's drop-in from a containerd configuration: a copy of the CRI plugin's tables, and the runtime.
# Variables: version, name, path, as_default, cdi.
BEGIN {
    id = version >= 3 ? "io.containerd.cri.v1.runtime" : "io.containerd.grpc.v1.cri"
    prefix = version == 1 ? "plugins.cri" : "plugins.\"" id "\""
    own = ".containerd.runtimes." name
    order = 0
    add("")
    add(".containerd")
}
function add(table) { if (!(table in body)) { body[table] = ""; tables[++order] = table } }
# The table's name after the plugin's id, or "-" where it is none of the plugin's.
function below(header,  text) {
    text = header
    gsub(/^[ \t]*\[[ \t]*|[ \t]*\][ \t]*(#.*)?$/, "", text)
    if (version == 1) return sub(/^plugins\.cri/, "", text) && (text == "" || text ~ /^\./) ? text : "-"
    gsub(/'/, "\"", text)
    if (index(text, prefix) != 1) return "-"
    text = substr(text, length(prefix) + 1)
    return text == "" || text ~ /^\./ ? text : "-"
}
/^[ \t]*\[/ {
    current = below($0)
    if (current != "-" && (current == own || index(current, own ".") == 1)) current = "-"
    if (current != "-") add(current)
    else if (version == 1) others = others $0 "\n"
    in_table = 1
    next
}
!in_table { if (version == 1 && NF) top = top $0 "\n"; next }
current != "-" { if (NF) { sub(/^[ \t]+/, ""); body[current] = body[current] $0 "\n" } next }
version == 1 { others = others $0 "\n" }

function get(table, key,  lines, n, i) {
    n = split(body[table], lines, "\n")
    for (i = 1; i <= n; i++) if (lines[i] ~ "^" key "[ \t]*=") { sub(/^[^=]*=[ \t]*/, "", lines[i]); return lines[i] }
    return ""
}
function without(table, key,  lines, n, i, kept) {
    n = split(body[table], lines, "\n")
    for (i = 1; i < n; i++) if (lines[i] !~ "^" key "[ \t]*=") kept = kept lines[i] "\n"
    body[table] = kept
}
function depth(table) { return gsub(/\./, ".", table) + 1 }
function show(table, text,  pad, lines, n, i) {
    pad = sprintf("%" 2 * depth(table) "s", "")
    print "\n" pad "[" prefix table "]"
    n = split(text, lines, "\n")
    for (i = 1; i < n; i++) print pad "  " lines[i]
}
END {
    # The runtime whose options are copied: the default one, else runc, else crun.
    default_name = get(".containerd", "default_runtime_name")
    gsub(/["' \t]/, "", default_name)
    n = split(default_name " runc crun", candidates, " ")
    source = "-"
    for (i = n; i >= 1; i--) if ((".containerd.runtimes." candidates[i]) in body) source = ".containerd.runtimes." candidates[i]
    if (source == "-") {
        runtime = "privileged_without_host_devices = false\nruntime_engine = \"\"\nruntime_root = \"\"\n"
        runtime = runtime "runtime_type = \"io.containerd.runc.v2\"\n"
    } else {
        runtime = body[source]
        kept_options = body[source ".options"]
        without(source ".options", "BinaryName")
        options = body[source ".options"]
        body[source ".options"] = kept_options
    }
    options = "BinaryName = \"" path "\"\n" options
    if (version == 1) options = options "Runtime = \"" path "\"\n"

    if (as_default) {
        without(".containerd", "default_runtime_name")
        body[".containerd"] = "default_runtime_name = \"" name "\"\n" body[".containerd"]
    } else if (default_name == name) without(".containerd", "default_runtime_name")
    if (cdi) {
        at = version == 1 ? ".containerd" : ""
        without(at, "enable_cdi")
        body[at] = "enable_cdi = true\n" body[at]
    }

    if (version == 1) printf "version = 1\n%s", top
    else print "version = " version
    print "\n[plugins]"
    for (i = 1; i <= order; i++)
        if (body[tables[i]] != "" || tables[i] !~ /^(\.containerd)?$/) show(tables[i], body[tables[i]])
    show(own, runtime)
    show(own ".options", options)
    if (version == 1) printf "\n%s", others
}
