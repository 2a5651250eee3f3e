# Adds a glob to the imports of a containerd configuration, keeping what is there. Variable: glob.
function put() { print "imports = [" (kept == "" ? "" : kept ", ") "\"" glob "\"]"; done = 1 }
!in_table && /^[ \t]*\[/ { in_table = 1; if (!done) put() }
!in_table && /^[ \t]*imports[ \t]*=/ {
    text = $0
    while (text !~ /\]/ && (getline line) > 0) text = text line
    sub(/^[^[]*\[/, "", text)
    sub(/\].*/, "", text)
    gsub(/^[ \t]+|[ \t,]+$/, "", text)
    if (index(text, glob)) { print "imports = [" text "]"; done = 1 } else { kept = text; put() }
    next
}
{ print }
END { if (!done) put() }
