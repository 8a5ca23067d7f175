" Syntax of opdsl programs (*.op); made by generate.py from the words of the parser.
if exists("b:current_syntax")
  finish
endif
syntax case match
syntax keyword op_declaration edition
syntax keyword op_declaration import
syntax keyword op_declaration from
syntax keyword op_declaration const
syntax keyword op_declaration equation
syntax keyword op_declaration block
syntax keyword op_declaration model
syntax keyword op_declaration train
syntax keyword op_declaration domain
syntax keyword op_declaration dim
syntax keyword op_declaration param
syntax keyword op_declaration input
syntax keyword op_declaration output
syntax keyword op_declaration require
syntax keyword op_declaration feedback
highlight default link op_declaration Keyword
syntax keyword op_control repeat
syntax keyword op_control residual
syntax keyword op_control if
syntax keyword op_control then
syntax keyword op_control else
syntax keyword op_control as
syntax keyword op_control shared
highlight default link op_control Conditional
syntax keyword op_operator and
syntax keyword op_operator or
syntax keyword op_operator not
highlight default link op_operator Operator
syntax keyword op_constant true
syntax keyword op_constant false
highlight default link op_constant Boolean
syntax match op_number '\<[0-9]\+\(\.[0-9]\+\)\?\([eE][+-]\?[0-9]\+\)\?\>'
syntax match op_sign '[.=:,^|+*/%<>-]\|!='
syntax match op_escape '\\["\\nt]' contained
syntax region op_text start='"' skip='\\.' end='"' oneline contains=op_escape
syntax region op_text start='"""' end='"""'
syntax match op_comment '#.*$'
highlight default link op_number Number
highlight default link op_sign Operator
highlight default link op_escape SpecialChar
highlight default link op_text String
highlight default link op_comment Comment
setlocal commentstring=#\ %s
let b:current_syntax = "op"
